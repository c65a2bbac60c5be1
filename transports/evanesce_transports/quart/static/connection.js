// One WebSocket after another to the server: hello, replies to their commands, sign of life, coming back.

import { synchronise } from "./clock.js";
import { Disconnected, Refused } from "./errors.js";

const PATIENCE = 15_000; // ms for an answer: the server's own bound is well below
const LONGEST_WAIT = 30_000; // ms between two attempts
const FINAL = new Set([1000, 1002, 1007, 1009, 4400, 4401, 4403]);

export class Connection {
  #token;
  #on;
  #socket = null;
  #calls = new Map();
  #ref = 0;
  #attempt = 0;
  #goodbye = null;
  #lastHeard = 0;
  #heartbeat = null;
  #wait = null;

  /**
   * `token()` gives the present token. `on` has `welcome(event)`, `event(event)` for each event and reply in order,
   * `waiting(ms)` when the connection is lost and will be tried again in `ms`, `ended(code, reason)` when it will not.
   */
  constructor(token, on) {
    this.#token = token;
    this.#on = on;
  }

  open() {
    clearTimeout(this.#wait);
    this.#wait = null;
    this.#goodbye = null;
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    const socket = new WebSocket(`${scheme}://${location.host}/ws`, "evanesce.v1");
    this.#socket = socket;
    socket.onopen = () => this.#greet(socket);
    socket.onmessage = ({ data }) => this.#receive(socket, data);
    socket.onclose = ({ code, reason }) => this.#lost(socket, code, reason);
    const giveUp = setTimeout(() => this.#lost(socket, 1006, ""), PATIENCE);
    socket.addEventListener("open", () => clearTimeout(giveUp));
    socket.addEventListener("close", () => clearTimeout(giveUp));
  }

  /** Leave for good. */
  close() {
    clearTimeout(this.#wait);
    const socket = this.#forget();
    socket?.close(1000);
  }

  /** Do not wait any longer for the next attempt. */
  retryNow() {
    if (this.#wait !== null) this.open();
  }

  /** Send `command`, give its reply. Throws `Refused` and `Disconnected`. */
  request(command) {
    const socket = this.#socket;
    if (socket?.readyState !== WebSocket.OPEN) return Promise.reject(new Disconnected());
    const ref = ++this.#ref;
    socket.send(JSON.stringify({ ...command, ref }));
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => this.#lost(socket, 1006, ""), PATIENCE);
      this.#calls.set(ref, { resolve, reject, timer });
    });
  }

  /** Say hello, also once more on a connection that is signed in, with a newer token. */
  async greet() {
    return this.request({ type: "hello", token: this.#token() });
  }

  /** Ask for the time, and find out whether the connection still lives. */
  ping() {
    if (this.#heartbeat !== null) this.request({ type: "ping" }).catch(() => {});
  }

  async #greet(socket) {
    let welcome;
    try {
      welcome = await this.greet();
    } catch (error) {
      // `invalid_token` and whatever else is final is followed by the close code that says so.
      if (error instanceof Refused) this.#lost(socket, error.retry ? 1006 : error.code === "forbidden" ? 4403 : 4401, error.message);
      return;
    }
    if (this.#socket !== socket) return;
    this.#attempt = 0;
    const silence = welcome.heartbeat * 2000;
    this.#heartbeat = setInterval(() => {
      if (performance.now() - this.#lastHeard >= silence) this.ping();
    }, silence / 4);
    this.#on.welcome(welcome);
  }

  #receive(socket, data) {
    this.#lastHeard = performance.now();
    for (const event of JSON.parse(data)) {
      if (this.#socket !== socket) return;
      if (event.serverTime) synchronise(event.serverTime);
      if (event.type === "goodbye") this.#goodbye = event;
      const call = this.#calls.get(event.ref);
      if (call) {
        this.#calls.delete(event.ref);
        clearTimeout(call.timer);
      }
      if (event.type === "error") {
        call?.reject(new Refused(event));
      } else {
        // Before the promise: its continuation runs only after the events that share this frame.
        this.#on.event(event);
        call?.resolve(event);
      }
    }
  }

  #forget() {
    const socket = this.#socket;
    this.#socket = null;
    clearInterval(this.#heartbeat);
    this.#heartbeat = null;
    if (socket) socket.onopen = socket.onmessage = socket.onclose = null;
    const calls = [...this.#calls.values()];
    this.#calls.clear();
    for (const { reject, timer } of calls) {
      clearTimeout(timer);
      reject(new Disconnected());
    }
    return socket;
  }

  #lost(socket, code, reason) {
    if (this.#socket !== socket) return;
    this.#forget();
    socket.close();
    const goodbye = this.#goodbye;
    if (FINAL.has(code) || goodbye?.reconnect === false) {
      this.#on.ended(goodbye?.code ?? code, goodbye?.reason || reason);
      return;
    }
    const wait = this.#delay(goodbye?.reconnectAfter);
    this.#wait = setTimeout(() => this.open(), wait);
    this.#on.waiting(wait);
  }

  /** When to try again, in ms: exponential with jitter, so that a server that comes back is not overrun. */
  #delay(reconnectAfter) {
    const step = Math.min(LONGEST_WAIT, 500 * 2 ** Math.min(this.#attempt++, 10));
    const jittered = step * (0.5 + Math.random() / 2);
    return reconnectAfter === undefined ? jittered : reconnectAfter * 1000 * (1 + Math.random() / 2) + jittered;
  }
}
