// The client and a server that is hostile, or a program that does not read: no error outside of a promise, and all is bounded.

import assert from "node:assert/strict";
import { test } from "node:test";
import { NotSent, RoomCipher } from "#page/client/index.js";
import { ROOM, Stage, settle, uuid } from "./scripted.js";

const MANY = 150_000; // more than a function takes as arguments

test("a program that reads nothing of a flood is told how many messages it lost, and keeps the newest", async () => {
  const stage = new Stage();
  const room = stage.client.join(ROOM);
  stage.client.connect({ token: "a token" });
  await stage.welcome();
  await stage.admit();
  for (let number = 1; number <= 30_000; number++) {
    stage.socket.onmessage?.({ data: JSON.stringify([stage.message(number)]) });
  }
  stage.client.close();
  let missed = 0;
  let kept = 0;
  for await (const event of room) {
    if (event.type === "missed") missed += event.count ?? 0;
    kept += 1;
  }
  assert.ok(kept <= 10_002);
  assert.ok(missed >= 20_000);
});

test("a frame and a list of messages may be longer than the arguments that a function takes", async () => {
  const stage = new Stage();
  await stage.joined();
  const messages = Array.from({ length: MANY }, (_, number) => stage.message(number));
  stage.socket.onmessage?.({ data: JSON.stringify(messages) });
  await settle();
  assert.equal(stage.events.filter(({ type }) => type === "message").length, MANY);
  await stage.pass(60_000);
  assert.equal(stage.events.filter(({ type }) => type === "expired").length, MANY);
});

test("what is no event of the protocol ends the connection, and nothing else", async () => {
  const stage = new Stage();
  await stage.joined();
  const bad = [
    { type: "message", messageId: uuid(1) },
    stage.message(1, { content: { toString: 1 } }),
    stage.message(1, { expiresAt: 7 }),
    stage.message(1, { createdAt: "yesterday" }),
    { type: "joined", memberCount: 1 },
    { type: "joined", memberCount: 1, messages: [null], cursor: "", missed: 0, unsent: [], room: {} },
    { type: "goodbye", code: 1012, reason: "", reconnect: true, reconnectAfter: "soon" },
    { type: "member_joined", userId: uuid(1), displayName: ["Ana"], memberCount: 1 },
    { type: "unsent", messageId: null },
    { type: "gap" },
    { type: "room_updated", messageTtl: 60, locked: "yes" },
    { type: "member_muted", userId: uuid(1), until: "later" },
    { type: "vote", userId: uuid(1), votes: "1", needed: 2, expiresAt: stage.at(1000) },
    { type: "bans", ref: "1", bans: [{ userId: uuid(1), displayName: null, until: stage.at(1000) }] },
    { type: "invites", ref: "1", invites: [{ inviteId: uuid(1) }] },
    stage.message(1, { replyTo: 7 }),
  ];
  for (const event of bad) {
    const before = stage.sockets.length;
    await stage.tell(event);
    assert.equal(stage.states.at(-1)?.state, "offline", JSON.stringify(event));
    await stage.comeBack();
    assert.equal(stage.sockets.length, before + 1);
    await stage.welcome();
    await stage.admit();
  }
  await stage.tell(stage.message(2));
  assert.equal(stage.heard().at(-1), "text 2");
});

test("after it was closed, a client waits for nothing that would keep a program from ending", async () => {
  const timers = new Set();
  /** @type {import("#page/client/index.js").ClientOptions} */
  const counted = {
    setTimeout: (ring, ms) => {
      const timer = setTimeout(ring, ms);
      timers.add(timer);
      return timer;
    },
    clearTimeout: (timer) => {
      clearTimeout(/** @type {any} */ (timer));
      timers.delete(timer);
    },
  };
  const stage = new Stage(counted);
  const room = await stage.joined();
  const outcome = room.send("too early").catch((error) => error);
  await settle();
  await stage.answer("send", { type: "error", code: "rate_limited", message: "", retry: true, retryAfter: 3600 });
  stage.client.close();
  assert.ok((await outcome) instanceof Error);
  assert.equal(timers.size, 0);
  assert.ok((await room.send("too late").catch((error) => error)) instanceof NotSent);
});

test("regular expressions keep no key", async () => {
  const key = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";
  const cipher = new RoomCipher(key, ROOM);
  const kept = /** @type {{ input?: string }} */ (/** @type {unknown} */ (RegExp)).input ?? "";
  assert.equal(kept.includes(key.slice(0, 20)), false);
  assert.equal(await cipher.open("", uuid(1), uuid(2)), null);
});
