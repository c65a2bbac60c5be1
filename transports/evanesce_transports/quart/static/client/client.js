// A client of a server: one connection that is kept up, the sign-in, and the rooms.

import { Access } from "./access.js";
import { Backoff } from "./backoff.js";
import { environmentWith } from "./environment.js";
import { NotSent, Refused } from "./errors.js";
import { parseRoom } from "./links.js";
import { Room } from "./room.js";
import { ABNORMAL, OPENING_TIMEOUT, Socket } from "./socket.js";
import { EventStream } from "./stream.js";
import { Alarm, ServerClock, SleepWatch, Stopwatch } from "./time.js";

const STEADY = 10_000; // ms after which a connection has lasted, and the next delay is the first again
const UNHINTED = 3; // every third attempt in a row does not name the room: another worker may be reachable
const PATIENCE = 15_000; // ms that a command waits for a connection
const UNAUTHENTICATED = 4401;
const FORBIDDEN = 4403;
const BROKEN = 4400;
/** The close codes after which a client does not reconnect. */
const FINAL = Object.freeze([1002, 1007, 1009, BROKEN, FORBIDDEN]);
const NETWORK = Object.freeze(["online", "offline"]); // events of a browser
const NO_SIGN_IN = Object.freeze(["invalid_token", "unauthenticated", "auth_failed"]);

/**
 * @typedef {import("./index.js").StateEvent} StateEvent
 * @typedef {import("./index.js").Protocol.Welcome} Welcome
 */

export class Client {
  #server;
  #environment;
  #clock;
  #access;
  /** @type {Socket | null} */
  #socket = null;
  /** @type {StateEvent} */
  #state = { type: "state", state: "stopped", code: 1000, reason: "" };
  /** @type {EventStream<StateEvent>} */
  #stream = new EventStream();
  /** @type {Welcome | null} */
  #welcome = null;
  /** @type {Map<string, Room>} */
  #rooms = new Map();
  /** @type {Set<() => void>} */
  #waiting = new Set(); // for a connection, or for its end
  #opened = 0; // WebSockets since the last welcome
  #delay = 0; // ms from `#lostSince` to the next attempt
  #backoff;
  #lostSince;
  #onlineSince;
  #retry;
  #watch;

  /**
   * @param {string} server its address, such as `https://chat.example.org`
   * @param {import("./index.js").ClientOptions} [options]
   */
  constructor(server, { signIn, tokenRenewed = () => {}, timeTold = () => {}, ...replaced } = {}) {
    new URL(server); // throws where it is none
    this.#server = server.replace(/\/+$/, "").replace(/^http/, "ws");
    this.#environment = environmentWith(replaced);
    this.#clock = new ServerClock(this.#environment, () => {
      for (const room of this.#rooms.values()) room.sweep();
      timeTold();
    });
    this.#access = new Access(this.#environment, this.#clock, signIn, {
      request: (command) => this.#write(command),
      renewed: (token, expiresAt) => {
        tokenRenewed(token, expiresAt);
        this.#tell(token);
      },
    });
    this.#backoff = new Backoff(this.#environment);
    this.#lostSince = new Stopwatch(this.#environment);
    this.#onlineSince = new Stopwatch(this.#environment);
    this.#retry = new Alarm(this.#environment, () => this.#open());
    this.#watch = new SleepWatch(this.#environment, () => this.#woke());
  }

  /** Return the connection's state; `stopped` before `connect`. */
  get state() {
    return this.#state;
  }

  /** Return what the server said last in `welcome`; null before. */
  get welcome() {
    return this.#welcome;
  }

  /** Return the server's time in ms since 1970; NaN before the server has told it. */
  now() {
    return this.#clock.now();
  }

  /** Return the changes of the state, in order. */
  async *[Symbol.asyncIterator]() {
    for (let batch = await this.#stream.take(); batch !== undefined; batch = await this.#stream.take()) yield* batch;
  }

  /**
   * Sign in and stay connected. With a connection, the new sign-in is for the next one.
   *
   * @param {import("./index.js").SignIn} signIn
   */
  connect(signIn) {
    this.#access.set(signIn);
    if (this.#state.state !== "stopped") return;
    this.#backoff.reset();
    this.#opened = 0;
    for (const type of NETWORK) this.#environment.network?.addEventListener(type, this.#networkChanged);
    this.#watch.start();
    this.#open();
  }

  /** Leave all rooms and close the connection. */
  close() {
    for (const room of [...this.#rooms.values()]) room.end("left");
    this.#stop(1000, "");
  }

  /**
   * Join a room, and join it again after each reconnection. A room that was joined already is returned as it is.
   *
   * @param {string} linkOrId
   * @param {import("./index.js").JoinOptions} [options]
   */
  join(linkOrId, options = {}) {
    const { roomId, ...secrets } = parseRoom(linkOrId);
    const joined = this.#rooms.get(roomId);
    if (joined) return joined;
    const context = {
      environment: this.#environment,
      clock: this.#clock,
      welcome: () => this.#welcome,
      left: () => {
        this.#rooms.delete(roomId);
        this.#rest();
      },
      /** @type {import("./room.js").RoomContext["request"]} */
      request: (command, written) => this.#write(command, written),
    };
    const room = new Room(context, roomId, { ...secrets, ...options });
    this.#rooms.set(roomId, room);
    if (this.#state.state === "online") room.connected();
    return room;
  }

  /**
   * Send a command and return its reply. It waits for a connection first. Throws `Refused`, `NotSent` and `OutcomeUnknown`.
   *
   * @param {import("./index.js").AnyCommand} command
   * @returns {Promise<any>} of the type that the protocol names for the command
   */
  async request(command) {
    const since = new Stopwatch(this.#environment);
    while (this.#state.state !== "online" && this.#state.state !== "stopped" && since.elapsed() < PATIENCE) {
      await this.#changed(PATIENCE - since.elapsed());
    }
    return this.#write(command);
  }

  /**
   * Use a newer token of the same user: a connection lives until the last token that it was given runs out.
   *
   * @param {string} token
   * @param {string} [tokenExpiresAt]
   */
  renew(token, tokenExpiresAt) {
    this.#access.replace(token, tokenExpiresAt);
    if (this.#state.state === "online") this.#tell(token);
  }

  /** Tell what has expired, ask the server whether it is there, and reconnect now where there is no connection. */
  check() {
    this.#watch.check();
    for (const room of this.#rooms.values()) room.sweep();
    if (this.#state.state === "online") this.#socket?.ping();
    else if (this.#isDelayed()) this.#open();
  }

  #networkChanged = (/** @type {Event} */ { type }) => {
    if (type === "online" || this.#state.state === "online") this.check();
  };

  /** Return whether there will be another attempt to connect when the delay is over. */
  #isDelayed() {
    return this.#state.state === "offline" && this.#state.retryIn !== undefined;
  }

  #woke() {
    this.#clock.doubt();
    for (const room of [...this.#rooms.values()]) room.sweep();
    this.#access.check();
    if (this.#state.state === "online") this.#socket?.ping();
    else this.#clock.trust(); // nobody can be asked before the next `welcome`
    if (this.#isDelayed() && this.#lostSince.elapsed() >= this.#delay) this.#open();
  }

  /** @param {import("./index.js").ConnectionState} state */
  #setState(state) {
    this.#state = { type: "state", ...state };
    this.#stream.push([this.#state]);
    for (const changed of this.#waiting) changed();
  }

  /** @param {number} ms after which the wait ends without a change */
  async #changed(ms) {
    await new Promise((resolve) => {
      const done = () => {
        this.#waiting.delete(done);
        alarm.clear();
        resolve(undefined);
      };
      const alarm = new Alarm(this.#environment, done);
      alarm.set(ms);
      this.#waiting.add(done);
    });
  }

  /** @type {(command: import("./index.js").AnyCommand, written?: () => void) => Promise<any>} */
  #write(command, written) {
    return this.#socket?.request(command, { written }) ?? Promise.reject(new NotSent());
  }

  /** @param {string | undefined} token newer than that of the connection */
  #tell(token) {
    this.#write({ type: "hello", token }).catch(() => {});
  }

  #open() {
    this.#retry.clear();
    this.#setState({ state: "connecting" });
    const [roomId] = this.#rooms.keys();
    const isHinted = ++this.#opened % UNHINTED !== 0 && roomId !== undefined;
    const address = `${this.#server}/ws${isHinted ? `?roomId=${roomId}` : ""}`;
    const socket = new Socket(this.#environment, this.#clock, address, {
      opened: () => this.#hello(socket),
      received: (events) => this.#received(events),
      closed: (code, reason) => this.#lost(code, reason),
    });
    this.#socket = socket;
  }

  /** @param {Socket} socket */
  async #hello(socket) {
    const { token, credential } = this.#access.current;
    try {
      const command = { type: "hello", ...(token === undefined ? { credential } : { token }) };
      const welcome = await socket.request(command, { timeout: OPENING_TIMEOUT });
      if (this.#socket !== socket) return;
      const { token: newer } = this.#access.current; // where one came while the answer was on its way
      this.#welcomed(socket, welcome);
      if (newer !== token) this.#tell(newer);
    } catch (error) {
      if (this.#socket !== socket || !(error instanceof Refused)) return; // it is lost, which the listener is told
      const { code, message, retry, retryAfter } = error;
      this.#drop();
      if (retry) this.#reconnectAfter(retryAfter, message);
      else if (NO_SIGN_IN.includes(code)) this.#signInAgain(message);
      else this.#stop(code === "forbidden" ? FORBIDDEN : BROKEN, message);
    }
  }

  /**
   * @param {Socket} socket
   * @param {Welcome} welcome
   */
  #welcomed(socket, welcome) {
    const before = this.#welcome?.userId ?? welcome.userId; // what one user wrote is not sent in the name of another
    if (before !== welcome.userId) for (const room of this.#rooms.values()) room.clearOutbox();
    this.#welcome = welcome;
    this.#access.welcomed(welcome);
    this.#opened = 0;
    this.#onlineSince.restart();
    socket.expectHeartbeat(welcome.heartbeat);
    this.#setState({ state: "online" });
    for (const room of [...this.#rooms.values()]) room.connected();
  }

  /** @param {import("./socket.js").Incoming[]} events */
  #received(events) {
    this.#watch.check();
    for (const [roomId, room] of [...this.#rooms]) {
      room.receive(events.filter((event) => "roomId" in event && event.roomId === roomId));
    }
  }

  /** Forget the connection. */
  #drop() {
    this.#socket?.close();
    this.#socket = null;
    if (this.#state.state === "online" && this.#onlineSince.elapsed() >= STEADY) this.#backoff.reset();
    this.#access.stop();
    this.#clock.trust();
    for (const room of this.#rooms.values()) room.disconnected();
  }

  /**
   * @param {number} code
   * @param {string} reason
   */
  #lost(code, reason) {
    const goodbye = this.#socket?.goodbye;
    this.#drop();
    const last = code === ABNORMAL && goodbye ? goodbye.code : code; // a connection may be reset after the last word
    if (last === UNAUTHENTICATED) this.#signInAgain(goodbye?.reason || reason);
    else if (FINAL.includes(last) || goodbye?.reconnect === false) this.#stop(last, goodbye?.reason || reason);
    else this.#reconnectAfter(goodbye?.reconnectAfter, goodbye?.reason || reason);
  }

  /** @param {string} reason why the server does not accept the sign-in */
  async #signInAgain(reason) {
    let found = false;
    if (this.#access.canAsk) {
      this.#setState({ state: "offline" });
      found = await this.#access.again();
      if (this.#state.state !== "offline") return; // it was closed meanwhile
    }
    if (found) this.#reconnectAfter();
    else this.#stop(UNAUTHENTICATED, reason);
  }

  /**
   * Connect again after a while.
   *
   * @param {number} [seconds] that the server asks for
   * @param {string} [reason] that the server gave for closing the connection, or for not accepting the sign-in now
   */
  #reconnectAfter(seconds, reason) {
    this.#delay = this.#backoff.next(seconds);
    this.#lostSince.restart();
    this.#retry.set(this.#delay);
    this.#setState({ state: "offline", retryIn: this.#delay / 1000, ...(reason && { reason }) });
  }

  /**
   * @param {number} code
   * @param {string} reason
   */
  #stop(code, reason) {
    if (this.#state.state === "stopped") return;
    this.#drop();
    this.#retry.clear();
    for (const type of NETWORK) this.#environment.network?.removeEventListener(type, this.#networkChanged);
    this.#setState({ state: "stopped", code, reason });
    this.#rest();
  }

  /** Stop looking at the clocks where no room's messages have to expire. */
  #rest() {
    if (this.#state.state === "stopped" && this.#rooms.size === 0) this.#watch.stop();
  }
}
