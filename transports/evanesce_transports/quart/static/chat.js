// The page: which part of it is shown, and what its buttons do.

import { ask, current, forgetMe, keep, keepFresh, signIn, signOut, watch } from "./account.js";
import { friendly, Refused } from "./errors.js";
import { Room } from "./room.js";
import { Timeline } from "./timeline.js";

const $ = (id) => document.getElementById(id);
const ROOM_PATH = /^\/r\/([^/]+)\/?$/;
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
const TYPING_FOR = 4_500; // ms after the last sign of it

let room = null;
let roomInfo = null;
let contentBytes = 4096;
const typing = new Map(); // user id → timer

// Which part is shown

function show(section) {
  for (const other of ["sign-in", "home", "stopped", "room"]) $(other).hidden = other !== section;
  const account = current();
  $("account-open").hidden = account === null || section === "sign-in";
  $("account-label").textContent = account?.displayName ?? "";
  banner(null);
}

function banner(text, retry = false) {
  $("banner").hidden = text === null;
  $("banner-text").textContent = text ?? "";
  $("banner-retry").hidden = !retry;
}

function problem(element, error) {
  element.hidden = error === null;
  element.textContent = error === null ? "" : friendly(error);
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
  $("sign-in-name").focus();
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

$("sign-in-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const form = event.currentTarget;
  attempt(form.querySelector("button"), form.querySelector(".problem"), async () => {
    await signIn($("sign-in-name").value);
    keepFresh(renewed);
    open();
  });
});

function showHome() {
  draft("");
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
      contentBytes = welcome.limits.contentBytes;
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
  $("composer-text").focus();
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

// The composer

const composer = $("composer-text");

function fit() {
  composer.style.height = "auto";
  composer.style.height = `${composer.scrollHeight + 2}px`;
  const tooMany = new TextEncoder().encode(composer.value).length - contentBytes;
  $("composer-problem").hidden = tooMany <= 0;
  $("composer-problem").textContent = tooMany > 0 ? `This is ${tooMany} bytes too long.` : "";
  $("composer-send").disabled = tooMany > 0;
}

function draft(text) {
  composer.value = text;
  fit();
}

composer.addEventListener("input", () => {
  fit();
  if (composer.value) room.typing();
});

composer.addEventListener("keydown", (event) => {
  // 229: Safari ends a composition before the Enter that confirms it.
  if (event.key !== "Enter" || event.shiftKey || event.isComposing || event.keyCode === 229) return;
  event.preventDefault();
  $("composer").requestSubmit($("composer-send").disabled ? undefined : $("composer-send"));
});

$("composer").addEventListener("submit", (event) => {
  event.preventDefault();
  const content = composer.value.replace(/[\uD800-\uDFFF]/gu, "\uFFFD"); // half a character is no UTF-8
  if (!/\S/u.test(content) || $("composer-send").disabled) return;
  draft("");
  composer.focus();
  room.say(content, (text) => {
    draft(composer.value ? `${text}\n${composer.value}` : text);
    composer.focus();
  });
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
  if (!(await confirmed("Close this room?", "It ends for everyone, and its link leads nowhere from then on.", "Close room"))) return;
  try {
    await room?.close();
  } catch (error) {
    banner(friendly(error));
  }
});

$("banner-retry").addEventListener("click", () => room?.retryNow());
$("stopped-retry").addEventListener("click", open);

// The account

$("account-open").addEventListener("click", () => {
  $("account-name").value = current().displayName;
  problem($("account").querySelector(".problem"), null);
  $("account").showModal();
});

function inAccount(button, work) {
  return attempt(button, $("account").querySelector(".problem"), work);
}

$("account-form").addEventListener("submit", (event) => {
  event.preventDefault();
  inAccount(event.submitter, async () => {
    const { displayName } = await ask("PATCH", "/me", { displayName: $("account-name").value });
    keep({ displayName });
    $("account-label").textContent = displayName;
    $("account").close();
  });
});

$("sign-out").addEventListener("click", (event) => inAccount(event.currentTarget, () => away(signOut)));

$("forget-me").addEventListener("click", async (event) => {
  const button = event.currentTarget;
  const text = "Your name and what is kept of your visits are erased, and your rooms are closed. This cannot be undone.";
  if (await confirmed("Forget you?", text, "Forget me")) inAccount(button, () => away(forgetMe));
});

async function away(leave) {
  await leave();
  history.pushState(null, "", "/");
  draft("");
  $("sign-in-name").value = "";
  $("sign-in-why").textContent = "You are signed out. Nothing is left here.";
  open();
}

function confirmed(title, text, yes) {
  $("confirm-title").textContent = title;
  $("confirm-text").textContent = text;
  $("confirm-yes").textContent = yes;
  $("confirm").returnValue = "";
  $("confirm").showModal();
  return new Promise((resolve) => {
    $("confirm").addEventListener("close", () => resolve($("confirm").returnValue === "yes"), { once: true });
  });
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

function renewed() {
  room?.renew();
}

keepFresh(renewed);
open();
