// A room of the client: each message once, what was missed, what has expired, and what is sent.

import assert from "node:assert/strict";
import { test } from "node:test";
import { VECTORS } from "#data/room-encryption.js";
import { KeyMissing, NotSent, OutcomeUnknown, parseRoom, Refused, RoomCipher } from "#page/client/index.js";
import { ANA, ROOM, Stage, settle, uuid } from "./scripted.js";

const SENT = Object.freeze({ type: "sent", createdAt: "", expiresAt: "", duplicate: false });

/** @param {Promise<unknown>} promise */
function outcome(promise) {
  return promise.catch((error) => error);
}

test("events come in order, those of one frame too, and the program's own after theirs", async () => {
  const stage = new Stage();
  stage.client.connect({ token: "a token" });
  const room = stage.client.join(`https://chat.example.org/r/${ROOM.toUpperCase()}#invite=a%2Bb`);
  const first = room[Symbol.asyncIterator]().next();
  await stage.welcome();
  assert.equal(stage.asked("join")[0].invite, "a+b");
  const members = [{ userId: ANA, displayName: "Ana" }];
  await stage.admit({ members, messages: [stage.message(1)] }, stage.message(2), { type: "typing", userId: ANA });
  assert.deepEqual((await first).value, {
    type: "joined",
    roomId: ROOM,
    members,
    memberCount: 1,
    room: { messageTtl: 60, access: "link", locked: false, encrypted: false },
    resumed: false,
  });
  const types = [];
  for await (const event of room) {
    types.push(event.type === "message" ? event.content : event.type);
    if (event.type === "typing") break;
  }
  assert.deepEqual(types, ["text 1", "text 2", "typing"]);
  await stage.reconnect();
  assert.equal("invite" in stage.asked("join")[0], false);
});

test("a resumed room has no message twice, and says what was missed and taken back", async () => {
  const stage = new Stage();
  await stage.joined();
  await stage.tell(stage.message(1), stage.message(2));
  await stage.tell({ type: "unsent", messageId: uuid(1001) });
  stage.heard();
  await stage.reconnect();
  assert.equal(stage.asked("join")[0].since, "cursor 2");
  const unsent = [uuid(1001), uuid(1002)];
  await stage.admit({ messages: [stage.message(2), stage.message(4)], missed: 1, unsent, cursor: "cursor 4" });
  assert.deepEqual(stage.heard(), ["joined", "missed 1 resume", "text 4", "unsent 2"]);
  assert.equal(stage.events.filter(({ type }) => type === "joined").at(-1)?.resumed, true);
  await stage.reconnect();
  assert.equal(stage.asked("join")[0].since, "cursor 4");
  await stage.admit({ missed: null });
  assert.deepEqual(stage.heard(), ["joined", "missed null resume"]);
});

test("a gap is closed from where it begins, and what comes meanwhile does not hide it", async () => {
  const stage = new Stage();
  await stage.joined();
  await stage.tell(stage.message(1), stage.message(2));
  await stage.tell({ type: "gap", since: "cursor 1" });
  await stage.tell(stage.message(5));
  assert.equal(stage.asked("join").at(-1)?.since, "cursor 1");
  await stage.lose();
  await stage.pass(1000);
  await stage.welcome();
  assert.equal(stage.asked("join")[0].since, "cursor 1");
  stage.heard();
  await stage.admit({ messages: [2, 4, 5].map((number) => stage.message(number)), cursor: "cursor 5" });
  assert.deepEqual(stage.heard(), ["joined", "text 4"]);
});

test("a second gap before the reply is closed too", async () => {
  const stage = new Stage();
  await stage.joined();
  await stage.tell(stage.message(1), { type: "gap", since: "cursor 1" }, stage.message(3), {
    type: "gap",
    since: "cursor 3",
  });
  const [, first, second] = stage.asked("join");
  const room = { messageTtl: 60, access: "link", locked: false, encrypted: false };
  const joined = { type: "joined", memberCount: 1, messages: [], more: false, missed: 0, unsent: [], room };
  await stage.tell({ ...joined, ref: first.ref, cursor: "cursor 2" });
  await stage.lose();
  await stage.pass(1000);
  await stage.welcome();
  assert.equal(second.since, "cursor 3");
  assert.equal(stage.asked("join")[0].since, "cursor 3");
});

test("the expiry of a message is told once, by the server's time", async () => {
  const stage = new Stage();
  await stage.joined();
  await stage.tell(stage.message(1), stage.message(2, { expiresAt: stage.at(2000) }), stage.message(3));
  await stage.tell({ type: "unsent", messageId: uuid(1001) });
  stage.heard();
  await stage.pass(1_999);
  assert.deepEqual(stage.heard(), []);
  await stage.pass(1);
  assert.deepEqual(stage.heard(), ["expired 2"]);
  await stage.pass(100_000);
  assert.deepEqual(stage.heard(), ["expired 3"]);
});

test("messages that arrive expired are counted as missed, those of a frame together", async () => {
  const stage = new Stage();
  await stage.joined();
  stage.heard();
  const late = [1, 2, 4].map((number) => stage.message(number, { expiresAt: stage.at(number < 4 ? 0 : -1) }));
  await stage.tell(late[0], late[1], stage.message(3), late[2]);
  await stage.tell(stage.message(5, { expiresAt: "nonsense" }));
  await stage.tell({ type: "skipped", count: 7 });
  assert.deepEqual(stage.heard(), ["missed 3 expired", "text 3", "missed 1 expired", "missed 7 skipped"]);
});

test("a message that expires before the program reads it is missed, and one that is taken back is not given", async () => {
  const stage = new Stage();
  stage.client.connect({ token: "a token" });
  const room = stage.client.join(ROOM);
  await stage.welcome();
  await stage.admit({ messages: [stage.message(1), stage.message(2)] });
  await stage.tell(stage.message(3));
  await stage.tell({ type: "unsent", messageId: uuid(1002) });
  await stage.tell({ type: "unsent", messageId: uuid(1003) });
  const events = room[Symbol.asyncIterator]();
  assert.equal((await events.next()).value?.type, "joined");
  await stage.pass(59_000);
  assert.deepEqual((await events.next()).value, { type: "missed", roomId: ROOM, count: 1, reason: "expired" });
  assert.equal((await events.next()).value?.type, "unsent");
  assert.equal((await events.next()).value?.type, "unsent");
});

test("after a sleep what has expired is told at once, and nothing is judged before the server has spoken", async () => {
  const stage = new Stage();
  await stage.joined();
  await stage.tell(stage.message(1));
  stage.heard();
  stage.sleep(120_000);
  // This frame is handled before the timer that is late.
  await stage.tell(stage.message(2, { expiresAt: stage.at(-60_000) }), stage.message(3));
  assert.deepEqual(stage.heard(), ["expired 1"]);
  assert.equal(stage.asked("ping").length, 1);
  await stage.answer("ping", { type: "pong", serverTime: stage.at() });
  assert.deepEqual(stage.heard(), ["missed 1 expired", "text 3"]);
});

test("what the server's time says to be expired is told at once", async () => {
  const stage = new Stage();
  await stage.joined();
  await stage.tell(stage.message(1));
  stage.heard();
  stage.client.check();
  await stage.answer("ping", { type: "pong", serverTime: stage.at(120_000) });
  assert.deepEqual(stage.heard(), ["expired 1"]);
});

test("a wall clock that is set forward hides nothing that is alive for longer than the answer takes", async () => {
  const stage = new Stage();
  await stage.joined();
  stage.heard();
  const serverTime = stage.at(1000);
  const message = stage.message(1);
  stage.sleep(3_600_000);
  await stage.pass(1000);
  await stage.tell(message);
  assert.deepEqual(stage.heard(), []);
  await stage.answer("ping", { type: "pong", serverTime });
  assert.deepEqual(stage.heard(), ["text 1"]);
});

test("a process that was frozen past the life of its messages", async () => {
  const stage = new Stage();
  await stage.joined();
  await stage.tell(stage.message(1));
  stage.heard();
  stage.freeze(120_000);
  await stage.pass(0);
  assert.deepEqual(stage.heard(), ["expired 1"]);
});

test("a room ends when it is closed, when the user is removed, and when it cannot be joined", async () => {
  for (const [event, end] of /** @type {const} */ ([
    [{ type: "room_closed", reason: "Closed." }, "left closed"],
    [{ type: "removed", reason: "vote" }, "left removed"],
  ])) {
    const stage = new Stage();
    const room = await stage.joined();
    const sent = outcome(room.send("never acknowledged"));
    stage.heard();
    await stage.tell(stage.message(1), event, stage.message(2));
    // The message in front of it was erased.
    assert.deepEqual(stage.heard(), [event.type, end]);
    assert.ok((await sent) instanceof OutcomeUnknown);
    assert.ok((await outcome(room.send("too late"))) instanceof NotSent);
    await stage.pass(100_000);
    assert.deepEqual(stage.heard(), []);
  }
  const stage = new Stage();
  await stage.joined();
  await stage.reconnect();
  stage.heard();
  await stage.answer("join", { type: "error", code: "banned", message: "", retry: false, retryAfter: 60 });
  assert.deepEqual(stage.heard(), ["left refused"]);
  assert.equal(stage.events.at(-1)?.error.code, "banned");
  await stage.reconnect();
  assert.equal(stage.asked("join").length, 0);
});

test("a join that is refused for now is repeated, and the application is told", async () => {
  const stage = new Stage();
  /** @type {[string, number][]} */
  const told = [];
  stage.client.connect({ token: "a token" });
  stage.client.join(ROOM, { waiting: ({ code }, seconds) => void told.push([code, seconds]) });
  await stage.welcome();
  await stage.answer("join", { type: "error", code: "store_unavailable", message: "", retry: true, retryAfter: 2 });
  assert.deepEqual(told, [["store_unavailable", 2.5]]);
  await stage.pass(2_500);
  assert.equal(stage.asked("join").length, 2);
});

test("messages wait for the room, are sent in order, one after the other, and again under the same id", async () => {
  const stage = new Stage();
  stage.client.connect({ token: "a token" });
  const room = stage.client.join(ROOM);
  const one = room.send("one", { ttl: 30, replyTo: uuid(7) });
  const two = room.send("two", { messageId: uuid(99) });
  await stage.welcome();
  assert.deepEqual(stage.asked("send"), []);
  await stage.admit();
  const [first] = stage.asked("send");
  assert.deepEqual([first.content, first.ttl, first.replyTo, stage.asked("send").length], ["one", 30, uuid(7), 1]);
  await stage.reconnect();
  await stage.admit();
  assert.deepEqual(stage.asked("send")[0].messageId, first.messageId);
  await stage.answer("send", { ...SENT, messageId: first.messageId, duplicate: true });
  assert.equal((await one).duplicate, true);
  assert.deepEqual(stage.asked("send")[1].messageId, uuid(99));
  await stage.answer("send", { ...SENT, messageId: uuid(99) });
  assert.equal((await two).messageId, uuid(99));
});

test("a refused message is told, a temporary refusal is repeated, and the next message follows", async () => {
  const stage = new Stage();
  const room = await stage.joined();
  const [one, two] = [outcome(room.send("one")), outcome(room.send("two"))];
  await settle();
  await stage.answer("send", { type: "error", code: "rate_limited", message: "", retry: true, retryAfter: 3 });
  await stage.pass(2_999);
  assert.equal(stage.asked("send").length, 1);
  await stage.pass(1);
  await stage.answer("send", { type: "error", code: "rejected", message: "Not that word.", retry: false });
  const refused = /** @type {Refused} */ (await one);
  assert.deepEqual([refused instanceof Refused, refused.message], [true, "Not that word."]);
  assert.equal(stage.asked("send")[2].content, "two");
  await stage.answer("send", { type: "error", code: "not_member", message: "", retry: false });
  await stage.admit();
  assert.equal(stage.asked("send")[3].content, "two");
  await stage.answer("send", { ...SENT });
  assert.equal(/** @type {{ type: string }} */ (await two).type, "sent");
});

test("after the life of a message its outcome is unknown, or it was never sent", async () => {
  const stage = new Stage();
  const room = await stage.joined();
  const [written, waiting] = [outcome(room.send("one", { ttl: 10 })), outcome(room.send("two", { ttl: 5 }))];
  await stage.pass(5_000);
  assert.ok((await waiting) instanceof NotSent);
  const third = outcome(room.send("three"));
  await stage.pass(5_000);
  assert.ok((await written) instanceof OutcomeUnknown);
  assert.deepEqual(
    stage.asked("send").map(({ content }) => content),
    ["one", "three"],
  );
  room.leave();
  assert.ok((await third) instanceof OutcomeUnknown);
  assert.equal(stage.asked("leave").length, 1);
});

test("a message without an acknowledgement is not sent again after the computer slept past its life", async () => {
  const stage = new Stage();
  const room = await stage.joined();
  const sent = outcome(room.send("once"));
  await stage.lose(1012, { reconnectAfter: 100 });
  stage.sleep(60_000);
  await stage.pass(1_000);
  assert.ok((await sent) instanceof OutcomeUnknown);
  stage.client.check();
  await stage.welcome();
  await stage.admit();
  assert.deepEqual(stage.asked("send"), []);
});

test("a message waits while the user signs in again, and is not sent as another user's", async () => {
  for (const userId of [ANA, uuid(5)]) {
    const stage = new Stage();
    const room = await stage.joined();
    const sent = outcome(room.send("mine"));
    await stage.lose(4401);
    stage.client.connect({ token: "another token" });
    await stage.welcome({ userId });
    await stage.admit();
    assert.equal(stage.asked("send").length, userId === ANA ? 1 : 0);
    if (userId !== ANA) assert.ok((await sent) instanceof OutcomeUnknown);
  }
});

test("a program that reads nothing loses the oldest events, and is told", async () => {
  const stage = new Stage();
  stage.client.connect({ token: "a token" });
  const room = stage.client.join(ROOM);
  await stage.welcome();
  const messages = Array.from({ length: 6000 }, (_, number) => stage.message(number));
  await stage.admit({ messages });
  await stage.tell(...messages.map((message, number) => ({ ...message, messageId: uuid(100_000 + number) })));
  const read = [];
  for await (const { type } of room) if (read.push(type) === 6001) break;
  assert.equal(read.filter((type) => type === "message").length, 6000);
  assert.equal(read.filter((type) => type === "missed").length, 1);
});

test("an encrypted room: what is sent is sealed, and what comes is opened or told as unreadable", async () => {
  const { key, roomId, senderId, messageId, content, text } = VECTORS[0];
  const stage = new Stage();
  stage.client.connect({ token: "a token" });
  const room = stage.client.join(`https://chat.example.org/r/${roomId}#k=${key}`);
  await stage.welcome();
  const encrypted = { messageTtl: 60, access: "link", locked: false, encrypted: true };
  const others = [stage.message(1), stage.message(2)].map((message) => ({ ...message, roomId }));
  const messages = [{ ...others[0], senderId, messageId, content }, { ...others[1] }];
  await stage.admit({ roomId, messages, room: encrypted });
  const events = room[Symbol.asyncIterator]();
  await events.next();
  const opened = (await events.next()).value;
  assert.deepEqual(opened, { ...messages[0], content: text, encrypted: true });
  const unreadable = (await events.next()).value;
  assert.deepEqual(unreadable, { ...messages[1], content: null, encrypted: true, unreadable: true });
  room.send("secret", { messageId: uuid(3) });
  while (stage.asked("send").length === 0) await settle();
  const [sent] = stage.asked("send");
  assert.equal(await new RoomCipher(key, roomId).open(sent.content, ANA, uuid(3)), "secret");
  await stage.reconnect();
  await stage.admit({ roomId, room: encrypted });
  while (stage.asked("send").length === 0) await settle();
  assert.equal(stage.asked("send")[0].content, sent.content); // sealed once
});

test("an encrypted room without a key", async () => {
  const stage = new Stage();
  const room = await stage.joined();
  const encrypted = { messageTtl: 60, access: "link", locked: false, encrypted: true };
  await stage.reconnect();
  await stage.admit({ room: encrypted, messages: [stage.message(1)] });
  assert.deepEqual([stage.events.at(-1)?.content, stage.events.at(-1)?.unreadable], [null, true]);
  assert.ok((await outcome(room.send("a"))) instanceof KeyMissing);
  assert.deepEqual(stage.asked("send"), []);
});

test("links and ids of rooms", () => {
  assert.deepEqual(parseRoom(ROOM.toUpperCase()), { roomId: ROOM });
  const link = `https://chat.example.org/base/r/${ROOM}/#k=a_b&invite=c%2Bd&other=e`;
  assert.deepEqual(parseRoom(link), { roomId: ROOM, key: "a_b", invite: "c+d" });
  for (const text of ["", "https://chat.example.org/", `https://chat.example.org/r/${ROOM}x`]) {
    assert.throws(() => parseRoom(text), TypeError);
  }
});
