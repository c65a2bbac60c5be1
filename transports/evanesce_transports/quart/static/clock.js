// The server's time. The clock of the user's device may be wrong by hours and is never read.

export class ServerClock {
  #time = NaN; // the server's time in ms since 1970, at `#receivedAt` of the monotonic clock
  #receivedAt = 0;

  /**
   * Set the clock to a time that the server has just sent.
   *
   * @param {Protocol.Timestamp} serverTime
   */
  synchronize(serverTime) {
    this.#time = Date.parse(serverTime);
    this.#receivedAt = performance.now();
  }

  /** Return the server's time in ms since 1970; NaN before the server has sent it. */
  now() {
    return this.#time + performance.now() - this.#receivedAt;
  }
}
