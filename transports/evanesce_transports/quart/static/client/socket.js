// One WebSocket to the server: commands and their replies, frames, and whether the server is still there.

import { NotSent, OutcomeUnknown, Refused } from "./errors.js";
import { parseFrame } from "./frames.js";
import { Alarm, Stopwatch } from "./time.js";

const SUBPROTOCOL = "evanesce.v1";
const REPLY_TIMEOUT = 15_000; // ms; the server's own limit is far shorter
export const OPENING_TIMEOUT = 10_000; // ms for the handshake, and for the reply to `hello`
const MAX_EXTRA_SILENCE = 10; // seconds beyond the server's heartbeat after which it is asked
const MAX_PONG_WAIT = 5; // seconds
const OPEN = 1; // WebSocket.OPEN
export const ABNORMAL = 1006; // the close code of a connection that was lost

/** @typedef {import("./index.js").Protocol.Frame[number]} Incoming */

/**
 * A command that waits for its reply.
 *
 * @typedef {object} PendingCommand
 * @property {(reply: Incoming) => void} resolve
 * @property {(error: Error) => void} reject
 * @property {Stopwatch} since when it was written
 * @property {Alarm} deadline
 */

/**
 * What a socket calls.
 *
 * @typedef {object} SocketListener
 * @property {() => void} opened
 * @property {(events: Incoming[]) => void} received the events and replies of one frame, in order, without errors
 * @property {(code: number, reason: string) => void} closed once, unless `close` was called
 */

export class Socket {
  #environment;
  #clock;
  #listener;
  #socket;
  #isOpen = true;
  /** @type {Map<string | number | undefined, PendingCommand>} */
  #pending = new Map(); // by `ref`
  #lastRef = 0;
  #heard;
  #silence;
  #opening;
  #maxSilence = Infinity; // ms
  #pongWait = MAX_PONG_WAIT * 1000;

  /**
   * The server's last word, where it has said one.
   *
   * @type {import("./index.js").Protocol.Goodbye | null}
   */
  goodbye = null;

  /**
   * Open a WebSocket.
   *
   * @param {import("./environment.js").Environment} environment
   * @param {import("./time.js").ServerClock} clock set by the times that the server sends
   * @param {string} address
   * @param {SocketListener} listener
   */
  constructor(environment, clock, address, listener) {
    this.#environment = environment;
    this.#clock = clock;
    this.#listener = listener;
    this.#heard = new Stopwatch(environment);
    this.#silence = new Alarm(environment, () => this.#askAfterSilence());
    this.#opening = new Alarm(environment, () => this.#lost(ABNORMAL, ""));
    this.#opening.set(OPENING_TIMEOUT);
    this.#socket = new environment.WebSocket(address, SUBPROTOCOL);
    this.#socket.onopen = () => {
      this.#opening.clear();
      this.#socket.onerror = ignore; // `close` follows
      listener.opened();
    };
    this.#socket.onmessage = ({ data }) => this.#receive(data);
    this.#socket.onclose = ({ code, reason }) => this.#lost(code, reason);
    // Some implementations say no more than this of a connection that was never there.
    this.#socket.onerror = () => this.#lost(ABNORMAL, "");
  }

  /**
   * Send a command and return its reply. Throws `Refused`, `NotSent` where there is no connection, and `OutcomeUnknown`
   * where it was lost before the reply.
   *
   * @param {import("./index.js").AnyCommand} command
   * @param {object} [options]
   * @param {number} [options.timeout] ms after which the connection counts as lost
   * @param {() => void} [options.written] called when the command was given to the network
   * @returns {Promise<any>} of the type that the protocol names for the command
   */
  request(command, { timeout = REPLY_TIMEOUT, written = () => {} } = {}) {
    if (!this.#isOpen || this.#socket.readyState !== OPEN) return Promise.reject(new NotSent());
    const ref = ++this.#lastRef;
    this.#socket.send(JSON.stringify({ ...command, ref }));
    written();
    return new Promise((resolve, reject) => {
      const deadline = new Alarm(this.#environment, () => this.#lost(ABNORMAL, ""));
      deadline.set(timeout);
      this.#pending.set(ref, { resolve, reject, since: new Stopwatch(this.#environment), deadline });
    });
  }

  /**
   * Ask the server when it has sent nothing for longer than its heartbeat, from now on.
   *
   * @param {number} heartbeat seconds
   */
  expectHeartbeat(heartbeat) {
    this.#maxSilence = (heartbeat + Math.min(MAX_EXTRA_SILENCE, heartbeat)) * 1000;
    this.#pongWait = Math.min(MAX_PONG_WAIT, heartbeat) * 1000;
    this.#silence.set(this.#maxSilence);
  }

  /** Ask the server for its time. The connection is lost where no answer comes. */
  async ping() {
    try {
      await this.request({ type: "ping" }, { timeout: this.#pongWait });
    } catch {
      // The connection is lost, which its listener is told.
    }
  }

  /** Close the WebSocket, fail the commands that wait, and call nothing any more. */
  close() {
    this.#detach();
    this.#socket.close(1000);
  }

  #askAfterSilence() {
    const left = this.#maxSilence - this.#heard.elapsed();
    if (left <= 0) this.ping();
    this.#silence.set(left > 0 ? left : this.#maxSilence);
  }

  /** @param {unknown} data */
  #receive(data) {
    this.#heard.restart();
    const frame = parseFrame(data);
    if (frame === null) {
      this.#lost(ABNORMAL, "The server has sent what is no frame.");
      return;
    }
    /** @type {(() => void)[]} */
    const replies = [];
    for (const event of frame) {
      const command = "ref" in event ? this.#take(event.ref) : undefined;
      if ("serverTime" in event) this.#clock.synchronize(event.serverTime, command?.since.elapsed() ?? 0);
      if (event.type === "goodbye") this.goodbye = event;
      if (event.type === "error") replies.push(() => command?.reject(new Refused(event)));
      else replies.push(() => command?.resolve(event));
    }
    this.#listener.received(frame.filter(({ type }) => type !== "error"));
    // Whoever waits for a reply continues after the other events of its frame.
    for (const reply of replies) reply();
  }

  /** @param {string | number | undefined} ref */
  #take(ref) {
    const command = this.#pending.get(ref);
    this.#pending.delete(ref);
    command?.deadline.clear();
    return command;
  }

  #detach() {
    this.#isOpen = false;
    this.#silence.clear();
    this.#opening.clear();
    this.#socket.onopen = this.#socket.onmessage = this.#socket.onclose = null;
    this.#socket.onerror = ignore; // without a listener, an error would end a program of Node
    const commands = [...this.#pending.keys()].map((ref) => this.#take(ref));
    for (const command of commands) command?.reject(new OutcomeUnknown());
  }

  /**
   * @param {number} code
   * @param {string} reason
   */
  #lost(code, reason) {
    if (!this.#isOpen) return;
    this.#detach();
    this.#socket.close();
    this.#listener.closed(code, reason);
  }
}

function ignore() {}
