// The server's time, as far as this page knows it. The computer's own clock may be wrong by hours and is never asked.

let base = null; // the server's time, in ms since 1970, at `heard` of the monotonic clock
let heard = 0;

export function synchronise(serverTime) {
  base = Date.parse(serverTime);
  heard = performance.now();
}

/** The server's time in ms since 1970; before it was heard of, NaN. */
export function serverNow() {
  return base === null ? NaN : base + performance.now() - heard;
}
