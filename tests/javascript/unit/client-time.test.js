// The client's time: what has elapsed, the server's clock, and a sleep.

import assert from "node:assert/strict";
import { test } from "node:test";
import { environmentWith } from "#page/client/environment.js";
import { Alarm, ServerClock, SleepWatch, Stopwatch } from "#page/client/time.js";

const NOW = 2_000_000_000_000;

/** Clocks that a test sets, and the timers that were set. */
function clocks() {
  const time = { monotonic: 0, wall: 500, timers: /** @type {{ ring: () => void, ms: number }[]} */ ([]) };
  const environment = environmentWith({
    WebSocket: /** @type {any} */ (class {}), // no test of time opens a connection
    monotonic: () => time.monotonic,
    wall: () => time.wall,
    setTimeout: (ring, ms) => time.timers.push({ ring, ms }) - 1,
    clearTimeout: (timer) => void time.timers.splice(/** @type {number} */ (timer), 1),
  });
  return { time, environment };
}

test("what has elapsed is the larger of the monotonic and the wall clock's", () => {
  const { time, environment } = clocks();
  const stopwatch = new Stopwatch(environment);
  time.monotonic += 10;
  assert.equal(stopwatch.elapsed(), 10);
  time.wall -= 3_600_000; // somebody sets it back
  assert.equal(stopwatch.elapsed(), 10);
  time.wall += 3_600_000 + 5_000; // the computer sleeps
  assert.equal(stopwatch.elapsed(), 5_000);
  stopwatch.restart();
  assert.equal(stopwatch.elapsed(), 0);
});

test("the clock shows the server's time, with half of the round trip at most", () => {
  const { time, environment } = clocks();
  let told = 0;
  const clock = new ServerClock(environment, () => (told += 1));
  assert.ok(Number.isNaN(clock.now()));
  clock.synchronize(new Date(NOW).toISOString(), 200);
  assert.equal(clock.now(), NOW + 100);
  time.monotonic += 1_000;
  clock.synchronize(new Date(NOW + 1_000).toISOString(), 4_000); // slow, but it agrees with what is shown
  assert.equal(clock.now(), NOW + 1_100);
  clock.synchronize(new Date(NOW + 5_000).toISOString(), 0);
  assert.equal(clock.now(), NOW + 5_000);
  time.wall += 3_600_000; // set forward by an hour: the server corrects it
  clock.synchronize(new Date(NOW + 5_000).toISOString(), 100);
  assert.equal(clock.now(), NOW + 5_050);
  time.wall += 120_000; // an answer of before a sleep, read after it, does not set the clock back
  clock.synchronize(new Date(NOW + 5_050).toISOString(), 120_000);
  assert.equal(clock.now(), NOW + 125_050);
  clock.synchronize("nonsense", 0);
  assert.deepEqual([clock.now(), told], [NOW + 125_050, 5]);
});

test("the clock is doubted until the server has told its time", async () => {
  const { environment } = clocks();
  const clock = new ServerClock(environment);
  assert.equal(clock.doubted, undefined);
  clock.doubt();
  const doubted = clock.doubted;
  clock.doubt();
  assert.equal(clock.doubted, doubted);
  clock.synchronize(new Date(NOW).toISOString(), 0);
  await doubted;
  assert.equal(clock.doubted, undefined);
});

test("a look at the clocks that is late by more than two seconds is told once", () => {
  const { time, environment } = clocks();
  let woke = 0;
  const watch = new SleepWatch(environment, () => (woke += 1));
  watch.start();
  time.monotonic += 3_000;
  watch.check();
  assert.equal(woke, 0);
  time.wall += 3_001;
  watch.check();
  time.timers.shift()?.ring();
  assert.deepEqual([woke, time.timers.length], [1, 1]);
  watch.stop();
  assert.equal(time.timers.length, 0);
});

test("an alarm rings early rather than at once where the time is too long for a timer", () => {
  const { time, environment } = clocks();
  const alarm = new Alarm(environment, () => {});
  alarm.set(2 ** 40);
  assert.deepEqual([time.timers.length, time.timers[0].ms], [1, 2 ** 31 - 1]);
  alarm.set(-5);
  assert.deepEqual([time.timers.length, time.timers[0].ms], [1, 0]);
});
