// The page: which part of it is shown, and what its buttons do.

import { ask, current, keep, keepFresh, watch } from "./account.js";
import { AccountDialog } from "./account-dialog.js";
import { Composer } from "./composer.js";
import { $, confirmed, problem } from "./elements.js";
import { friendly, Refused } from "./errors.js";
import { Room } from "./room.js";
import { SignIn } from "./sign-in.js";
import { Timeline } from "./timeline.js";

const ROOM_PATH = /^\/r\/([^/]+)\/?$/;
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
const TYPING_FOR = 4_500; // ms after the last sign of it

let room = null;
let roomInfo = null;
const typing = new Map(); // user id → timer

// Which part is shown

function show(section) {
  for (const other of ["sign-in", "home", "stopped", "room"]) $(other).hidden = other !== section;
  const account = current();
  $("account-open").hidden = account === null || section === "sign-in";
  $("account-label").textContent = account?.displayName ?? "";
  banner(null);
  if (section !== "sign-in") signIn.clear();
  accountDialog.remind(section === "home" || section === "room");
}

function banner(text, retry = false) {
  $("banner").hidden = text === null;
  $("banner-text").textContent = text ?? "";
  $("banner-retry").hidden = !retry;
}

/** Show what belongs to the address. */
function open() {
  leaveRoom();
  const roomId = ROOM_PATH.exec(location.pathname)?.[1].toLowerCase();
  if (roomId && !UUID.test(roomId)) stopped("There is no such room", "Perhaps a part of the link is missing.");
  else if (current() === null) showSignIn(roomId && "Someone has shared a room with you. What is said in it fades away and is then gone.");
  else if (roomId) enterRoom(roomId);
  else showHome();
}

function go(path) {
  history.pushState(null, "", path);
  open();
}

function stopped(title, text, retry = false) {
  leaveRoom();
  $("stopped-title").textContent = title;
  $("stopped-text").textContent = text;
  $("stopped-retry").hidden = !retry;
  show("stopped");
}

// Sign in, home

function showSignIn(why) {
  if (why) $("sign-in-why").textContent = why;
  show("sign-in");
  signIn.draw();
}

function signInAgain() {
  leaveRoom();
  keep(null);
  showSignIn("Your sign-in has run out. Come in again.");
}

/** Do what a form or button asks, once at a time, and say what went wrong beside it. */
async function attempt(button, where, work) {
  button.disabled = true;
  problem(where, null);
  try {
    await work();
  } catch (error) {
    if (error instanceof Refused && ["invalid_token", "unauthenticated"].includes(error.code)) signInAgain();
    else problem(where, error);
  } finally {
    button.disabled = false;
  }
}

function showHome() {
  composer.draft("");
  $("home-rooms").replaceChildren();
  $("home-more").hidden = true;
  document.title = "Evanesce";
  show("home");
  listRooms(null);
}

function listRooms(after) {
  return attempt($("home-more"), $("home-problem"), async () => {
    const page = await ask("GET", after === null ? "/rooms" : `/rooms?after=${encodeURIComponent(after)}`);
    $("home-rooms").append(...page.rooms.map(roomItem));
    $("home-more").hidden = page.next === undefined;
    $("home-more").onclick = () => listRooms(page.next);
  });
}

function roomItem({ roomId, createdAt, active, memberCount }) {
  const link = document.createElement("a");
  link.href = `/r/${roomId}`;
  const opened = new Date(createdAt).toLocaleString([], { dateStyle: "medium", timeStyle: "short" });
  const state = document.createElement("span");
  state.className = "state";
  state.textContent = active ? `${memberCount} in it` : "empty";
  link.append(opened, state);
  const item = document.createElement("li");
  item.append(link);
  return item;
}

$("home-create").addEventListener("click", () =>
  attempt($("home-create"), $("home-problem"), async () => {
    const { roomId } = await ask("POST", "/rooms");
    go(`/r/${roomId}`);
  }),
);

// A room

function enterRoom(roomId) {
  const timeline = new Timeline(
    { list: $("messages"), pending: $("pending"), scroll: $("scroll"), empty: $("empty") },
    current().userId,
    (messageId) => room.unsend(messageId),
  );
  room = new Room(roomId, timeline, {
    state: showState,
    people: showPeople,
    typing: showTyping,
    room(info) {
      roomInfo = info;
      $("room-close").hidden = info.createdBy !== current().userId;
    },
    limits(welcome) {
      composer.contentBytes = welcome.limits.contentBytes;
      $("account-label").textContent = welcome.displayName;
      $("empty-ttl").textContent = duration(welcome.messageTtl);
    },
    refused: (error) => stopped("You cannot come in", friendly(error), error.code !== "room_not_found"),
    closed: (reason) => stopped("This room is closed", reason),
    ended(code, reason) {
      if (code === 4401) signInAgain();
      else stopped("The connection has ended", reason || "The server does not want to go on with this page.", true);
    },
  });
  roomInfo = null;
  $("room-close").hidden = true;
  $("people-count").textContent = "–";
  document.title = "A room – Evanesce";
  show("room");
  room.enter();
  composer.focus();
}

function leaveRoom() {
  room?.leave();
  room = null;
  for (const dialog of document.querySelectorAll("dialog[open]")) dialog.close();
}

function showState(kind, ms) {
  if (kind === "in") banner(null);
  else if (kind === "connecting") banner("Connecting…");
  else if (kind === "trouble") banner("The server has lost its message store for a moment. Trying again…");
  else banner(`No connection. Trying again in ${Math.max(1, Math.round(ms / 1000))} s.`, true);
}

function showPeople() {
  $("people-count").textContent = `${room.count} ${room.count === 1 ? "person" : "people"}`;
  const own = current()?.userId;
  const names = [...room.people].map(([userId, name]) => {
    const item = document.createElement("li");
    const label = document.createElement("bdi");
    label.textContent = name;
    item.append(label, userId === own ? " (you)" : "");
    return item;
  });
  const more = room.count - room.people.size;
  if (more > 0) {
    const item = document.createElement("li");
    item.textContent = room.people.size ? `and ${more} more` : `${more} people: too many to name`;
    names.push(item);
  }
  $("people-list").replaceChildren(...names);
  $("account-label").textContent = current()?.displayName ?? "";
}

/** Show that somebody types, or with `over` that it is over; null: nobody does. */
function showTyping(userId, over = false) {
  for (const id of userId === null ? [...typing.keys()] : [userId]) {
    clearTimeout(typing.get(id));
    typing.delete(id);
  }
  if (userId !== null && !over) typing.set(userId, setTimeout(() => showTyping(userId, true), TYPING_FOR));
  const names = [...typing.keys()].map((id) => room.name(id));
  $("typing").textContent =
    names.length === 0 ? "" : names.length > 3 ? "Several people are typing…" : `${names.join(", ")} ${names.length === 1 ? "is" : "are"} typing…`;
}

function duration(seconds) {
  if (seconds < 120) return `${seconds} ${seconds === 1 ? "second" : "seconds"}`;
  return seconds < 7200 ? `${Math.round(seconds / 60)} minutes` : `${Math.round(seconds / 3600)} hours`;
}

const composer = new Composer({
  say: (content) => room.say(content, (text) => composer.giveBack(text)),
  typing: () => room.typing(),
});

// The room's buttons

$("share-copy").addEventListener("click", async () => {
  const link = roomInfo?.deepLink ?? location.href;
  try {
    await navigator.clipboard.writeText(link);
  } catch {
    // Not a secure page, or not allowed.
    $("share-link").value = link;
    $("share").showModal();
    $("share-link").select();
    return;
  }
  $("share-copy").textContent = "Copied";
  setTimeout(() => ($("share-copy").textContent = "Copy link"), 2_000);
});

$("people-open").addEventListener("click", () => {
  room.look();
  $("people").showModal();
});

$("room-leave").addEventListener("click", () => go("/"));

$("room-close").addEventListener("click", async () => {
  if (!(await confirmed("Close this room?", ["It ends for everyone, and its link leads nowhere from then on."], "Close room"))) return;
  try {
    await room?.close();
  } catch (error) {
    banner(friendly(error));
  }
});

$("banner-retry").addEventListener("click", () => room?.retryNow());
$("stopped-retry").addEventListener("click", open);

// Signing in and out

const page = {
  attempt,
  open,
  fresh: () => keepFresh(renewed),
  left() {
    history.pushState(null, "", "/");
    composer.draft("");
    $("sign-in-why").textContent = "You are signed out.";
    open();
  },
};
const signIn = new SignIn($("sign-in-ways"), page);
const accountDialog = new AccountDialog(page);

function renewed() {
  room?.renew();
}

// The world around the page

document.addEventListener("click", (event) => {
  const link = event.target.closest?.("a");
  if (!link || link.origin !== location.origin || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey) return;
  event.preventDefault();
  go(link.pathname);
});
addEventListener("popstate", open);
addEventListener("online", () => room?.wake());
document.addEventListener("visibilitychange", () => {
  if (!document.hidden) room?.wake();
});
addEventListener("pagehide", () => room?.leave()); // also where the page is kept for coming back: it holds no content then
addEventListener("pageshow", (event) => {
  if (event.persisted) open();
});
watch((before, now) => {
  if (before?.userId !== now?.userId) open();
  else if (before?.token !== now?.token) renewed();
});

page.fresh();
open();
