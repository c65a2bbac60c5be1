// Time: what has elapsed, the server's time, timers, and whether the program slept.
//
// A monotonic clock stands still while a computer sleeps, on most systems. The wall clock goes on, but somebody may set it
// back. What has elapsed is therefore the larger of both. The wall clock's own value is never used: it may be an hour off.

const MAX_TIMER = 2 ** 31 - 1; // ms: the longest time that a timer takes
const TICK = 1_000; // ms between two looks at the clocks
const LATE = 2_000; // ms by which a look may be late before the program has slept

/** @typedef {import("./environment.js").Environment} Environment */

/** Measures what has elapsed since it was started. */
export class Stopwatch {
  #environment;
  #monotonic = 0;
  #wall = 0;

  /** @param {Environment} environment */
  constructor(environment) {
    this.#environment = environment;
    this.restart();
  }

  restart() {
    this.#monotonic = this.#environment.monotonic();
    this.#wall = this.#environment.wall();
  }

  /** Return the time since the start, in ms. */
  elapsed() {
    const { monotonic, wall } = this.#environment;
    return Math.max(monotonic() - this.#monotonic, wall() - this.#wall);
  }
}

/** A timer that is set again and again. It may ring early where the time is very long: whoever sets it looks again. */
export class Alarm {
  #environment;
  #ring;
  /** @type {unknown} */
  #timer;

  /**
   * @param {Environment} environment
   * @param {() => void} ring
   */
  constructor(environment, ring) {
    this.#environment = environment;
    this.#ring = ring;
  }

  /** @param {number} ms from now */
  set(ms) {
    this.clear();
    this.#timer = this.#environment.setTimeout(
      () => {
        this.#timer = undefined;
        this.#ring();
      },
      Math.min(Math.max(ms, 0), MAX_TIMER),
    );
  }

  clear() {
    if (this.#timer !== undefined) this.#environment.clearTimeout(this.#timer);
    this.#timer = undefined;
  }
}

/** The server's time, from its last word about it. */
export class ServerClock {
  #changed;
  #time = NaN; // the server's time when `#since` was started, in ms since 1970
  #since;
  /** @type {{ over: Promise<void>, end: () => void } | null} */
  #doubt = null;

  /**
   * @param {Environment} environment
   * @param {() => void} [changed] called each time that the server has told its time
   */
  constructor(environment, changed = () => {}) {
    this.#changed = changed;
    this.#since = new Stopwatch(environment);
  }

  /**
   * Set the clock to a time that the server has told. It was that time when the server answered, at most `roundTrip` ms ago:
   * what the clock showed is kept where it agrees with that, else the answer counts as on its way for half of the round trip.
   *
   * @param {string} serverTime
   * @param {number} roundTrip
   */
  synchronize(serverTime, roundTrip) {
    const told = Date.parse(serverTime);
    if (Number.isNaN(told)) return;
    const shown = this.now();
    this.#time = shown >= told && shown <= told + roundTrip ? shown : told + roundTrip / 2;
    this.#since.restart();
    this.trust();
    this.#changed();
  }

  /** Return the server's time in ms since 1970; NaN before the server has told it. */
  now() {
    return this.#time + this.#since.elapsed();
  }

  /** Doubt the clock until the server tells its time: the program slept, and nobody knows for how long. */
  doubt() {
    if (this.#doubt !== null) return;
    let end = () => {};
    const over = new Promise((/** @type {(value: void) => void} */ resolve) => void (end = resolve));
    this.#doubt = { over, end };
  }

  /** End the doubt, also where the server cannot be asked any more. */
  trust() {
    this.#doubt?.end();
    this.#doubt = null;
  }

  /** Return a promise of the end of the doubt; undefined where there is none. */
  get doubted() {
    return this.#doubt?.over;
  }
}

/** Looks at the clocks every second, and says when a look was late: the computer, the process or the tab slept. */
export class SleepWatch {
  #woke;
  #since;
  #alarm;

  /**
   * @param {Environment} environment
   * @param {() => void} woke
   */
  constructor(environment, woke) {
    this.#woke = woke;
    this.#since = new Stopwatch(environment);
    this.#alarm = new Alarm(environment, () => this.start());
  }

  /** Look now, and then every second. */
  start() {
    this.check();
    this.#since.restart();
    this.#alarm.set(TICK);
  }

  /** Look now: what arrived may be handled before the timer that is late. */
  check() {
    if (this.#since.elapsed() <= TICK + LATE) return;
    this.#since.restart();
    this.#woke();
  }

  stop() {
    this.#alarm.clear();
  }
}
