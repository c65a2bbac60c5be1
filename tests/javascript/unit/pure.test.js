// The modules of the page and of the plugins that only compute.

import assert from "node:assert/strict";
import { test } from "node:test";
import { absolutePath, basePath, homePath, roomIdIn, roomPath } from "#page/addresses.js";
import { ServerClock } from "#page/clock.js";
import { describeError, Disconnected, Problem, Refused } from "#page/errors.js";
import { counted, duration, isolate, typingText } from "#page/format.js";
import { formatAccountCode, parseAccountCode } from "#worldid/account-code.js";

const CODE = "0123456789ABCDEFGHJKMNPQRS";

test("counts and durations as text", () => {
  assert.deepEqual(
    [counted(0, "message"), counted(1, "message"), counted(2, "message")],
    ["0 messages", "1 message", "2 messages"],
  );
  assert.deepEqual([counted(1, "person", "people"), counted(3, "person", "people")], ["1 person", "3 people"]);
  assert.deepEqual([1, 119, 120, 7199, 7200, 86_400].map(duration), [
    "1 second",
    "119 seconds",
    "2 minutes",
    "120 minutes",
    "2 hours",
    "24 hours",
  ]);
});

test("who is typing", () => {
  assert.equal(typingText([]), "");
  assert.equal(typingText(["Ana"]), "Ana is typing…");
  assert.equal(typingText(["Ana", "Ben"]), "Ana, Ben are typing…");
  assert.equal(typingText(["Ana", "Ben", "Cleo", "Dan"]), "Several people are typing…");
  assert.equal(isolate("Ana"), "\u2068Ana\u2069");
});

test("errors are described for the user", () => {
  assert.equal(describeError(new Refused({ code: "room_full", message: "Full." })), "This room is full.");
  assert.equal(describeError(new Refused({ code: "of_a_plugin", message: "Not that word." })), "Not that word.");
  assert.equal(describeError(new Disconnected()), "The server cannot be reached.");
  assert.equal(describeError(new Problem("Not like that.")), "Not like that.");
  const unexpected = new TypeError("a fault of the page");
  assert.throws(() => describeError(unexpected), unexpected);
});

test("addresses below the path of the server", () => {
  const room = "5b1f2c1e-0d3e-4c7e-8a43-6f4ad1f0d3a1";
  assert.equal(homePath(), `${basePath()}/`);
  assert.equal(roomIdIn(roomPath(room)), room);
  assert.equal(roomIdIn(`${roomPath(room.toUpperCase())}/`), room);
  assert.equal(roomIdIn(homePath()), undefined);
  assert.equal(absolutePath(`/r/${room}`), roomPath(room));
  assert.equal(absolutePath(roomPath(room)), roomPath(room));
});

test("the clock shows the server's time", () => {
  const clock = new ServerClock();
  assert.ok(Number.isNaN(clock.now()));
  clock.synchronize("2033-05-18T03:33:20Z");
  assert.ok(Math.abs(clock.now() - 2_000_000_000_000) < 1_000);
});

test("account codes", () => {
  assert.equal(formatAccountCode(CODE), "0123-4567-89AB-CDEF-GHJK-MNPQ-RS");
  for (const text of [CODE, ` ${formatAccountCode(CODE)} `, CODE.toLowerCase(), "oI23 4567‑89ab—cdef ghjk-mnpq-rs"])
    assert.equal(parseAccountCode(text), CODE, text);
  for (const text of ["", "nonsense", CODE.slice(1), `8${CODE.slice(1)}`, `${CODE}0`, CODE.replace("A", "U")])
    assert.equal(parseAccountCode(text), undefined, text);
});
