// The connection of the client: its states, when it comes back, and what it signs in with.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Client, NotSent, OutcomeUnknown, Refused } from "#page/client/index.js";
import { ANA, ROOM, Stage, settle } from "./scripted.js";

/** @param {Stage} stage */
function named(stage) {
  return stage.sockets.map(({ url }) => url.searchParams.get("roomId"));
}

/** @param {Stage} stage */
function states(stage) {
  return stage.states.map(({ state }) => state);
}

test("a client connects, is welcome, and is stopped when it is closed", async () => {
  const stage = new Stage();
  assert.equal(stage.client.state.state, "stopped");
  const room = await stage.joined();
  assert.equal(stage.socket.url.href, `wss://chat.example.org/base/ws?roomId=${ROOM}`);
  assert.deepEqual(stage.asked("hello"), [{ type: "hello", token: "a token", ref: 1 }]);
  assert.equal(stage.client.welcome?.userId, ANA);
  stage.client.close();
  await settle();
  assert.deepEqual(states(stage), ["connecting", "online", "stopped"]);
  assert.deepEqual(stage.states.at(-1), { type: "state", state: "stopped", code: 1000, reason: "" });
  assert.deepEqual([room.state, stage.socket.closedWith], ["left", 1000]);
  await stage.pass(100_000);
  assert.equal(stage.sockets.length, 1);
});

test("every third attempt in a row does not name the room in the address", async () => {
  const stage = new Stage();
  stage.client.join(ROOM);
  stage.client.connect({ token: "a token" });
  const lose = async () => {
    await stage.lose();
    await stage.comeBack();
  };
  for (let lost = 0; lost < 4; lost += 1) await lose();
  await stage.welcome();
  for (let lost = 0; lost < 3; lost += 1) await lose();
  const beforeTheWelcome = [ROOM, ROOM, null, ROOM, ROOM];
  assert.deepEqual(named(stage), [...beforeTheWelcome, ROOM, ROOM, null]);
});

test("the delay has full jitter, grows to half a minute, and starts again after a steady connection", async () => {
  const stage = new Stage();
  stage.random = 0.999;
  stage.client.connect({ token: "a token" });
  const delays = [];
  for (let lost = 0; lost < 7; lost += 1) {
    await stage.lose();
    delays.push(stage.states.at(-1)?.retryIn / 0.999);
    await stage.comeBack();
  }
  assert.deepEqual(delays.map(Math.round), [1, 2, 4, 8, 16, 30, 30]);
  await stage.welcome();
  await stage.pass(9_000);
  await stage.lose();
  assert.equal(Math.round(stage.states.at(-1)?.retryIn), 30);
  await stage.comeBack();
  await stage.welcome();
  await stage.pass(10_000);
  stage.random = 0;
  await stage.lose();
  assert.equal(stage.states.at(-1)?.retryIn, 0);
  stage.random = 0.999;
  await stage.pass(0);
  await stage.lose();
  assert.equal(Math.round(stage.states.at(-1)?.retryIn), 2);
});

test("the server's delay is kept, with a fifth of jitter at most", async () => {
  const stage = new Stage();
  stage.random = 0.5;
  await stage.joined();
  await stage.lose(1012, { reason: "It restarts.", reconnectAfter: 5 });
  assert.deepEqual(stage.states.at(-1), { type: "state", state: "offline", retryIn: 5.5, reason: "It restarts." });
  await stage.pass(5_499);
  assert.equal(stage.sockets.length, 1);
  await stage.pass(1);
  assert.equal(stage.sockets.length, 2);
});

for (const code of [1002, 1007, 1009, 4400, 4403]) {
  test(`after ${code} the client stays away`, async () => {
    const stage = new Stage();
    await stage.joined();
    await stage.lose(code, { reason: "Enough.", reconnect: false });
    await stage.pass(100_000);
    assert.deepEqual(stage.states.at(-1), { type: "state", state: "stopped", code, reason: "Enough." });
    assert.equal(stage.sockets.length, 1);
  });
}

test("a last word counts where the connection is reset after it", async () => {
  const stage = new Stage();
  await stage.joined();
  await stage.tell({ type: "goodbye", code: 4403, reason: "Not you.", reconnect: false });
  await stage.lose();
  assert.deepEqual(stage.states.at(-1), { type: "state", state: "stopped", code: 4403, reason: "Not you." });
});

test("too many devices: the server does not want this one back", async () => {
  const stage = new Stage();
  await stage.joined();
  await stage.lose(4429, { reconnect: false });
  assert.equal(stage.client.state.state, "stopped");
});

test("a token that is refused stops a client without another sign-in, and it goes on with a new one", async () => {
  const stage = new Stage();
  const room = await stage.joined();
  await stage.lose(4401, { reason: "It has expired.", reconnect: true });
  assert.deepEqual(stage.states.at(-1), { type: "state", state: "stopped", code: 4401, reason: "It has expired." });
  assert.equal(room.state, "joining");
  stage.client.connect({ token: "a newer token" });
  await stage.welcome();
  assert.equal(stage.asked("hello")[0].token, "a newer token");
  assert.equal(stage.asked("join")[0].since, "start");
});

test("the application is asked once to sign in again", async () => {
  let asked = 0;
  const signIn = async () => ({ token: `token ${++asked}` });
  const stage = new Stage({ signIn });
  await stage.joined();
  await stage.lose(4401);
  await stage.pass(1000);
  stage.open();
  assert.equal(stage.asked("hello")[0].token, "token 1");
  await stage.answer("hello", { type: "error", code: "invalid_token", message: "No.", retry: false });
  assert.deepEqual(stage.states.at(-1), { type: "state", state: "stopped", code: 4401, reason: "No." });
  assert.equal(asked, 1);
});

test("a credential is used again where its token has run out", async () => {
  const stage = new Stage();
  const credential = { provider: "guest", displayName: "Ana" };
  stage.client.connect({ credential });
  await stage.welcome({ token: "of the welcome", tokenExpiresAt: stage.at(3_600_000) });
  await stage.lose();
  await stage.pass(1000);
  stage.open();
  assert.equal(stage.asked("hello")[0].token, "of the welcome");
  await stage.answer("hello", { type: "error", code: "invalid_token", message: "No.", retry: false });
  await stage.pass(2000);
  stage.open();
  assert.deepEqual(stage.asked("hello")[0].credential, credential);
});

test("a hello that is refused for now is repeated, and one of a user who may not connect is not", async () => {
  const stage = new Stage();
  stage.client.connect({ token: "a token" });
  stage.open();
  await stage.answer("hello", {
    type: "error",
    code: "auth_unavailable",
    message: "Later.",
    retry: true,
    retryAfter: 2,
  });
  assert.deepEqual(stage.states.at(-1), { type: "state", state: "offline", retryIn: 2.2, reason: "Later." });
  await stage.pass(2_200);
  stage.open();
  await stage.answer("hello", { type: "error", code: "forbidden", message: "Not you.", retry: false });
  assert.deepEqual(stage.states.at(-1), { type: "state", state: "stopped", code: 4403, reason: "Not you." });
});

test("the token is renewed when four fifths of its life are over, also after a sleep", async () => {
  /** @type {string[]} */
  const renewed = [];
  const stage = new Stage({ tokenRenewed: (token) => void renewed.push(token) });
  stage.client.connect({ token: "old", tokenExpiresAt: stage.at(100_000) });
  await stage.welcome({ heartbeat: 1000 });
  await stage.pass(79_000);
  assert.equal(stage.asked("refresh").length, 0);
  await stage.pass(1_001);
  await stage.answer("refresh", { type: "error", code: "store_unavailable", message: "", retry: true });
  await stage.pass(2_000);
  assert.equal(stage.asked("refresh").length, 2);
  await stage.answer("refresh", { type: "token", token: "new", tokenExpiresAt: stage.at(1_000_000) });
  assert.deepEqual([renewed, stage.asked("hello").at(-1)?.token], [["new"], "new"]);
  stage.sleep(900_000);
  await stage.pass(1_000);
  assert.equal(stage.asked("refresh").length, 3);
});

test("a newer token is told to the connection, also one that came while the client was signing in", async () => {
  const stage = new Stage();
  stage.client.connect({ token: "old" });
  stage.open();
  stage.client.renew("newer");
  await stage.answer("hello", { type: "welcome", userId: ANA, serverTime: stage.at(), heartbeat: 25, limits: {} });
  stage.client.renew("newest");
  assert.deepEqual(
    stage.asked("hello").map(({ token }) => token),
    ["old", "newer", "newest"],
  );
});

test("a server that says nothing is asked, and is dead without an answer", async () => {
  const stage = new Stage();
  await stage.joined();
  await stage.pass(34_999);
  assert.equal(stage.asked("ping").length, 0);
  await stage.pass(1);
  await stage.answer("ping", { type: "pong", serverTime: stage.at() });
  await stage.pass(35_000);
  assert.equal(stage.asked("ping").length, 2);
  await stage.pass(4_999);
  assert.equal(stage.client.state.state, "online");
  await stage.pass(1);
  assert.equal(stage.client.state.state, "offline");
});

test("the browser says that the network is gone or back", async () => {
  const stage = new Stage();
  await stage.joined();
  stage.network.dispatchEvent(new Event("offline"));
  assert.equal(stage.asked("ping").length, 1);
  await stage.pass(5_000);
  assert.equal(stage.client.state.state, "offline");
  stage.network.dispatchEvent(new Event("offline"));
  assert.equal(stage.sockets.length, 1);
  stage.network.dispatchEvent(new Event("online"));
  assert.equal(stage.sockets.length, 2);
});

test("a computer that slept past the delay connects at once", async () => {
  const stage = new Stage();
  await stage.joined();
  await stage.lose(1012, { reconnectAfter: 60 });
  stage.sleep(70_000);
  await stage.pass(1_000);
  assert.equal(stage.sockets.length, 2);
});

test("a command waits for a connection, and says what became of it", async () => {
  const stage = new Stage();
  stage.client.connect({ token: "a token" });
  const outcomes = ["create_room", "profile", "rooms"].map((type) =>
    stage.client.request({ type }).catch((/** @type {unknown} */ error) => error),
  );
  await stage.welcome();
  await stage.answer("create_room", { type: "room", roomId: ROOM });
  await stage.answer("profile", { type: "error", code: "rate_limited", message: "", retry: true, retryAfter: 3 });
  await stage.lose();
  const [room, refused, unknown] = await Promise.all(outcomes);
  assert.equal(room.roomId, ROOM);
  assert.deepEqual([refused instanceof Refused, refused.code, refused.retryAfter], [true, "rate_limited", 3]);
  assert.ok(unknown instanceof OutcomeUnknown);
  const late = stage.client.request({ type: "profile" }).catch((/** @type {unknown} */ error) => error);
  stage.client.close();
  assert.ok((await late) instanceof NotSent);
});

test("a connection that was never there may say no more than that there was an error", async () => {
  const stage = new Stage();
  stage.client.connect({ token: "a token" });
  stage.socket.onerror?.({});
  assert.equal(stage.client.state.state, "offline");
  stage.socket.onerror?.({});
  await settle();
  await stage.comeBack();
  assert.equal(stage.sockets.length, 2);
});

test("what is no frame ends the connection, and unknown events are ignored", async () => {
  for (const data of ["", "{}", "[1]", "[null]", new ArrayBuffer(2)]) {
    const stage = new Stage();
    await stage.joined();
    stage.heard();
    await stage.tell({ type: "from_a_later_version", roomId: ROOM }, { type: "joined_by_a_later_version" });
    assert.deepEqual([stage.heard(), stage.client.state.state], [[], "online"]);
    stage.socket.onmessage?.({ data });
    assert.equal(stage.client.state.state, "offline");
  }
});

test("without a WebSocket, and with what is no address, nothing is made", () => {
  assert.throws(() => new Client("https://chat.example.org", { WebSocket: undefined }), TypeError);
  assert.throws(() => new Client("nonsense", {}), TypeError);
  assert.throws(() => new Stage().client.join("nonsense"), TypeError);
});
