// The WebSockets that a connection opens one after the other, without a server.

import assert from "node:assert/strict";
import { test } from "node:test";
import { ServerClock } from "#page/clock.js";
import { Connection } from "#page/connection.js";

const ROOM = "00000000-0000-4000-8000-000000000001";

/** @type {ScriptedSocket[]} */
const opened = [];

/** A WebSocket that does what the test says. */
class ScriptedSocket extends EventTarget {
  static OPEN = 1;
  readyState = 0;
  /** @type {string[]} */
  sent = [];
  /** @type {((event: object) => unknown) | null} */
  onopen = null;
  /** @type {((event: { data: string }) => unknown) | null} */
  onmessage = null;
  /** @type {((event: { code: number, reason: string }) => unknown) | null} */
  onclose = null;

  /** @param {string} url */
  constructor(url) {
    super();
    this.url = new URL(url);
    opened.push(this);
  }

  /** @param {string} text */
  send(text) {
    this.sent.push(text);
  }

  close() {}

  /** Lose the connection. */
  lose() {
    this.dispatchEvent(new Event("close"));
    this.onclose?.({ code: 1006, reason: "" });
  }

  /** Open the connection, and answer its `hello`. */
  welcome() {
    this.readyState = ScriptedSocket.OPEN;
    this.dispatchEvent(new Event("open"));
    this.onopen?.({});
    const { ref } = JSON.parse(this.sent[0] ?? "");
    this.onmessage?.({ data: JSON.stringify([{ type: "welcome", heartbeat: 25, ref }]) });
  }
}

/** Return the newest WebSocket. */
function newest() {
  return /** @type {ScriptedSocket} */ (opened.at(-1));
}

test("every third attempt in a row does not name the room in the address", async () => {
  Object.assign(globalThis, { WebSocket: ScriptedSocket, location: { protocol: "http:", host: "localhost" } });
  /** @type {() => void} */
  let welcomed = () => {};
  const welcome = new Promise((resolve) => void (welcomed = () => resolve(undefined)));
  const listener = { welcome: welcomed, event() {}, reconnecting() {}, disconnected() {} };
  const connection = new Connection(ROOM, () => undefined, new ServerClock(), listener);
  const lose = () => {
    newest().lose();
    connection.reconnectNow();
  };
  connection.connect();
  for (let lost = 0; lost < 4; lost += 1) lose();
  newest().welcome();
  await welcome;
  for (let lost = 0; lost < 3; lost += 1) lose();
  connection.close();
  const named = opened.map(({ url }) => url.searchParams.get("roomId"));
  const beforeTheWelcome = [ROOM, ROOM, null, ROOM, ROOM];
  assert.deepEqual(named, [...beforeTheWelcome, ROOM, ROOM, null]);
});
