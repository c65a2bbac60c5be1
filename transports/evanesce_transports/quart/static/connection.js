// The WebSocket to the server: hello, commands and their replies, heartbeat, reconnecting.

import { webSocketAddress } from "./addresses.js";
import { Disconnected, Refused } from "./errors.js";

const SUBPROTOCOL = "evanesce.v1";
const REPLY_TIMEOUT = 15_000; // ms; the server's own limit is far shorter
const FIRST_DELAY = 500; // ms before the second attempt to connect
const MAX_DELAY = 30_000; // ms between two attempts
const UNHINTED = 3; // every third attempt in a row does not name the room: another worker may be reachable
const ABNORMAL = 1006; // the close code of a connection that was lost
const UNAUTHENTICATED = 4401;
const FORBIDDEN = 4403;
/** The close codes after which the page does not reconnect. */
const FINAL = Object.freeze([1000, 1002, 1007, 1009, 4400, UNAUTHENTICATED, FORBIDDEN]);

/**
 * A command that waits for its reply.
 *
 * @typedef {object} PendingCommand
 * @property {(reply: Protocol.Frame[number]) => void} resolve
 * @property {(error: Refused | Disconnected) => void} reject
 * @property {number} timer
 */

/**
 * What a connection calls.
 *
 * @typedef {object} ConnectionListener
 * @property {(welcome: Protocol.Welcome) => void} welcome
 * @property {(event: Exclude<Protocol.Frame[number], Protocol.ErrorReply>) => void} event for each event and reply, in order
 * @property {(ms: number) => void} reconnecting the connection was lost; the next attempt is in `ms`
 * @property {(code: number, reason: string) => void} disconnected the connection was closed, and there is no other attempt
 */

export class Connection {
  #roomId;
  #token;
  #clock;
  #listener;
  /** @type {WebSocket | null} */
  #socket = null;
  /** @type {Map<string | number | undefined, PendingCommand>} */
  #pending = new Map(); // by `ref`
  #lastRef = 0;
  #attempts = 0;
  #opened = 0; // WebSockets since the last `welcome`
  /** @type {Protocol.Goodbye | null} */
  #goodbye = null;
  #receivedAt = 0; // when the last frame arrived, by the monotonic clock
  /** @type {number | undefined} */
  #heartbeat;
  /** @type {number | undefined} */
  #reconnect;

  /**
   * @param {string} roomId the room that is going to be joined
   * @param {() => string | undefined} token returns the token of the user who is signed in
   * @param {import("./clock.js").ServerClock} clock set by the times that the server sends
   * @param {ConnectionListener} listener
   */
  constructor(roomId, token, clock, listener) {
    this.#roomId = roomId;
    this.#token = token;
    this.#clock = clock;
    this.#listener = listener;
  }

  /** Open a WebSocket. */
  connect() {
    clearTimeout(this.#reconnect);
    this.#reconnect = undefined;
    this.#goodbye = null;
    const hint = ++this.#opened % UNHINTED === 0 ? undefined : this.#roomId;
    const socket = new WebSocket(webSocketAddress(hint), SUBPROTOCOL);
    this.#socket = socket;
    socket.onopen = () => this.#signIn(socket);
    socket.onmessage = ({ data }) => this.#receive(socket, data);
    socket.onclose = ({ code, reason }) => this.#lost(socket, code, reason);
    const timer = setTimeout(() => this.#lost(socket, ABNORMAL, ""), REPLY_TIMEOUT);
    socket.addEventListener("open", () => clearTimeout(timer));
    socket.addEventListener("close", () => clearTimeout(timer));
  }

  /** Close the connection, and do not reconnect. */
  close() {
    clearTimeout(this.#reconnect);
    const socket = this.#detach();
    socket?.close(1000);
  }

  /** Reconnect now if the connection is lost. */
  reconnectNow() {
    if (this.#reconnect !== undefined) this.connect();
  }

  /**
   * Send a command and return its reply. Throws `Refused` and `Disconnected`.
   *
   * @template {Protocol.CommandType} Type
   * @param {Protocol.Command<Type>} command
   * @returns {Promise<Protocol.Replies[Type]>}
   */
  request(command) {
    const socket = this.#socket;
    if (socket?.readyState !== WebSocket.OPEN) return Promise.reject(new Disconnected());
    const ref = ++this.#lastRef;
    socket.send(JSON.stringify({ ...command, ref }));
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => this.#lost(socket, ABNORMAL, ""), REPLY_TIMEOUT);
      // By the protocol, what has this `ref` and is no error is the reply to the command.
      this.#pending.set(ref, {
        resolve: (reply) => resolve(/** @type {Protocol.Replies[Type]} */ (reply)),
        reject,
        timer,
      });
    });
  }

  /** Send `hello`: first on a new connection, and again with a newer token. */
  async hello() {
    return this.request({ type: "hello", token: this.#token() });
  }

  /** Send `ping`, to set the clock and to detect a lost connection. */
  ping() {
    if (this.#heartbeat !== undefined) this.request({ type: "ping" }).catch(() => {});
  }

  /** @param {WebSocket} socket */
  async #signIn(socket) {
    let welcome;
    try {
      welcome = await this.hello();
    } catch (error) {
      // The server closes the connection after a final error such as `invalid_token`; this is the code that it uses.
      if (error instanceof Refused) {
        const code = error.code === "forbidden" ? FORBIDDEN : UNAUTHENTICATED;
        this.#lost(socket, error.retry ? ABNORMAL : code, error.message);
      }
      return;
    }
    if (this.#socket !== socket) return;
    this.#attempts = 0;
    this.#opened = 0;
    const maxSilence = welcome.heartbeat * 2000;
    this.#heartbeat = setInterval(() => {
      if (performance.now() - this.#receivedAt >= maxSilence) this.ping();
    }, maxSilence / 4);
    this.#listener.welcome(welcome);
  }

  /**
   * @param {WebSocket} socket
   * @param {string} data
   */
  #receive(socket, data) {
    this.#receivedAt = performance.now();
    /** @type {Protocol.Frame} */
    const frame = JSON.parse(data);
    for (const event of frame) {
      if (this.#socket !== socket) return;
      if ("serverTime" in event) this.#clock.synchronize(event.serverTime);
      if (event.type === "goodbye") this.#goodbye = event;
      const ref = "ref" in event ? event.ref : undefined;
      const command = this.#pending.get(ref);
      if (command) {
        this.#pending.delete(ref);
        clearTimeout(command.timer);
      }
      if (event.type === "error") {
        command?.reject(new Refused(event));
      } else {
        // The listener is called first: the promise continues only after the other events of this frame.
        this.#listener.event(event);
        command?.resolve(event);
      }
    }
  }

  /** Stop using the WebSocket, fail the commands that wait for a reply, and return the WebSocket. */
  #detach() {
    const socket = this.#socket;
    this.#socket = null;
    clearInterval(this.#heartbeat);
    this.#heartbeat = undefined;
    if (socket) socket.onopen = socket.onmessage = socket.onclose = null;
    const commands = [...this.#pending.values()];
    this.#pending.clear();
    for (const { reject, timer } of commands) {
      clearTimeout(timer);
      reject(new Disconnected());
    }
    return socket;
  }

  /**
   * @param {WebSocket} socket
   * @param {number} code
   * @param {string} reason
   */
  #lost(socket, code, reason) {
    if (this.#socket !== socket) return;
    this.#detach();
    socket.close();
    const goodbye = this.#goodbye;
    if (FINAL.includes(code) || goodbye?.reconnect === false) {
      this.#listener.disconnected(goodbye?.code ?? code, goodbye?.reason || reason);
      return;
    }
    const delay = this.#nextDelay(goodbye?.reconnectAfter);
    this.#reconnect = setTimeout(() => this.connect(), delay);
    this.#listener.reconnecting(delay);
  }

  /**
   * Return the time before the next attempt, in ms: exponential backoff with jitter, so that the clients of a server that
   * restarts do not all connect at once.
   *
   * @param {number | undefined} reconnectAfter seconds
   */
  #nextDelay(reconnectAfter) {
    const backoff = Math.min(MAX_DELAY, FIRST_DELAY * 2 ** Math.min(this.#attempts++, 10));
    const jittered = backoff * (0.5 + Math.random() / 2);
    return reconnectAfter === undefined ? jittered : reconnectAfter * 1000 * (1 + Math.random() / 2) + jittered;
  }
}
