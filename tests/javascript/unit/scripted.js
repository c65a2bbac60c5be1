// What the tests of the client give it: clocks that they move, and WebSockets that do what a test says.

import { Client } from "#page/client/index.js";

export const ROOM = "00000000-0000-4000-8000-000000000001";
export const ANA = "00000000-0000-4000-8000-00000000000a";
/** The server's time at the start, in ms since 1970: years away from the client's. */
export const NOW = 2_000_000_000_000;

/** @typedef {Record<string, any>} Fields */

/** A WebSocket without a network. */
class ScriptedSocket {
  readyState = 0;
  /** @type {Fields[]} */
  sent = [];
  /** @type {((event: object) => unknown) | null} */
  onopen = null;
  /** @type {((event: { data: unknown }) => unknown) | null} */
  onmessage = null;
  /** @type {((event: { code: number, reason: string }) => unknown) | null} */
  onclose = null;
  /** @type {((event: object) => unknown) | null} */
  onerror = null;
  /** @type {number | undefined} */
  closedWith;

  /** @param {string} address */
  constructor(address) {
    this.url = new URL(address);
  }

  /** @param {string} text */
  send(text) {
    this.sent.push(JSON.parse(text));
  }

  /** @param {number} [code] */
  close(code) {
    this.closedWith ??= code ?? 0;
    this.readyState = 3;
  }
}

/** A client in an environment that the test moves, and the server's side of its connections. */
export class Stage {
  monotonic = 0;
  wall = 1_000_000;
  random = 0.5;
  /** @type {ScriptedSocket[]} */
  sockets = [];
  /** @type {Fields[]} */
  states = [];
  /** @type {Fields[]} */
  events = [];
  network = new EventTarget();
  /** @type {Map<number, { at: number, ring: () => void }>} */
  #timers = new Map();
  #lastTimer = 0;
  #lastId = 0;
  #answered = 0;

  /** @param {import("#page/client/index.js").ClientOptions} [options] */
  constructor(options = {}) {
    const sockets = this.sockets;
    class Scripted extends ScriptedSocket {
      /** @param {string} address */
      constructor(address) {
        super(address);
        sockets.push(this);
      }
    }
    this.client = new Client("https://chat.example.org/base/", {
      WebSocket: Scripted,
      setTimeout: (ring, ms) => {
        this.#timers.set(++this.#lastTimer, { at: this.monotonic + ms, ring });
        return this.#lastTimer;
      },
      clearTimeout: (timer) => void this.#timers.delete(/** @type {number} */ (timer)),
      monotonic: () => this.monotonic,
      wall: () => this.wall,
      random: () => this.random,
      uuid: () => uuid(++this.#lastId),
      network: this.network,
      ...options,
    });
    this.#collect(this.client, this.states);
  }

  /** Return the newest WebSocket. */
  get socket() {
    return /** @type {ScriptedSocket} */ (this.sockets.at(-1));
  }

  /** Return the server's time after so many ms. */
  at(ms = 0) {
    return new Date(NOW + this.wall - 1_000_000 + ms).toISOString();
  }

  /** Let time pass, and ring what is due. @param {number} ms */
  async pass(ms) {
    const end = this.monotonic + ms;
    for (;;) {
      const [first] = [...this.#timers].filter(([, { at }]) => at <= end).sort(([, a], [, b]) => a.at - b.at);
      if (!first) break;
      const [timer, { at, ring }] = first;
      this.#timers.delete(timer);
      this.#move(Math.max(0, at - this.monotonic));
      ring();
      await settle();
    }
    this.#move(end - this.monotonic);
    await settle();
  }

  /** Let the computer sleep: the monotonic clock stands still, and no timer rings. @param {number} ms */
  sleep(ms) {
    this.wall += ms;
  }

  /** Let the process be frozen: the clocks go on, and no timer rings. @param {number} ms */
  freeze(ms) {
    this.#move(ms);
  }

  /** Send a frame to the client. @param {Fields[]} events */
  async tell(...events) {
    this.socket.onmessage?.({ data: JSON.stringify(events.map((event) => ({ roomId: ROOM, ...event }))) });
    await settle();
  }

  /** Return the commands of a type that the client has sent on the newest connection. @param {string} type */
  asked(type) {
    return this.socket.sent.filter((command) => command.type === type);
  }

  /** Answer the newest command of a type. @param {string} type @param {Fields} reply @param {Fields[]} others in its frame */
  async answer(type, reply, ...others) {
    const { ref } = /** @type {Fields} */ (this.asked(type).at(-1));
    await this.tell({ ref, ...reply }, ...others);
  }

  /** Open the connection and welcome the client. @param {Fields} changes */
  async welcome(changes = {}) {
    this.open();
    await settle();
    const welcome = { type: "welcome", userId: ANA, displayName: "Ana", serverTime: this.at(), messageTtl: 60 };
    await this.answer("hello", { ...welcome, heartbeat: 25, limits: {}, ...changes });
  }

  /** Open the connection. */
  open() {
    this.socket.readyState = 1;
    this.socket.onopen?.({});
  }

  /** Answer the command `join`. @param {Fields} changes @param {Fields[]} others in its frame */
  async admit(changes = {}, ...others) {
    const room = { messageTtl: 60, access: "link", locked: false, encrypted: false };
    const empty = { memberCount: 1, messages: [], more: false, cursor: "start", missed: 0, unsent: [], room };
    await this.answer("join", { type: "joined", ...empty, ...changes }, ...others);
  }

  /** Return a joined room, whose events are collected. @param {import("#page/client/index.js").JoinOptions} [options] */
  async joined(options) {
    const room = this.client.join(ROOM, options);
    this.client.connect({ token: "a token" });
    this.#collect(room, this.events);
    await this.welcome();
    await this.admit();
    return room;
  }

  /** Lose the connection, with a last word where there is a code. @param {number} code @param {Fields} [goodbye] */
  async lose(code = 1006, goodbye) {
    if (goodbye) await this.tell({ type: "goodbye", code, reason: "", reconnect: true, ...goodbye });
    this.socket.readyState = 3;
    this.socket.onclose?.({ code, reason: "" });
    await settle();
  }

  /** Let the delay pass. */
  async comeBack() {
    await this.pass(Math.ceil(this.states.at(-1)?.retryIn * 1000));
  }

  /** Lose the connection, and be welcome again. */
  async reconnect() {
    await this.lose();
    await this.comeBack();
    await this.welcome();
  }

  /** Return the events since the last call, each as its type and what tells it from others of the type. */
  heard() {
    const heard = this.events.slice(this.#answered).map(brief);
    this.#answered = this.events.length;
    return heard;
  }

  /** A message of somebody else. @param {number} number @param {Fields} changes */
  message(number, changes = {}) {
    const times = { createdAt: this.at(-1000), expiresAt: this.at(59_000) };
    const sender = { senderId: "00000000-0000-4000-8000-00000000000b", senderName: "Ben" };
    const content = `text ${number}`;
    const ids = { roomId: ROOM, messageId: uuid(1000 + number), cursor: `cursor ${number}` };
    return { type: "message", ...ids, ...sender, content, ...times, ...changes };
  }

  /** @param {number} ms */
  #move(ms) {
    this.monotonic += ms;
    this.wall += ms;
  }

  /** @param {AsyncIterable<Fields>} source @param {Fields[]} into */
  async #collect(source, into) {
    for await (const event of source) into.push(event);
  }
}

/** Return an id with this number. @param {number} number */
export function uuid(number) {
  return `00000000-0000-4000-8000-${`${number}`.padStart(12, "0")}`;
}

/** Wait until everything is done that waits for no timer of the test. */
export async function settle() {
  await new Promise((resolve) => void setTimeout(resolve, 0));
}

/** @param {Fields} event */
function brief({ type, content, count, reason, messageId }) {
  if (type === "message") return content;
  if (type === "missed") return `missed ${count} ${reason}`;
  if (messageId !== undefined) return `${type} ${Number(messageId.slice(-12)) - 1000}`;
  return type === "left" ? `left ${reason}` : type;
}
