// The modules of the page and of the plugins that only compute.

import assert from "node:assert/strict";
import { test } from "node:test";
import { absolutePath, basePath, homePath, roomIdIn, roomPath, withKey } from "#page/addresses.js";
import { Refused, secretsIn } from "#page/client/index.js";
import { describeError, Disconnected, Problem } from "#page/errors.js";
import { hue, HUES, initials, isolate, typingText } from "#page/format.js";
import { Hues } from "#page/hues.js";
import { chooseLanguage, direction, duration, loadTexts, setLanguage, t } from "#page/i18n.js";
import { formatAccountCode, parseAccountCode } from "#worldid/account-code.js";

const CODE = "0123456789ABCDEFGHJKMNPQRS";

setLanguage("en", await loadTexts("en"));

test("counts and durations as text", () => {
  const missed = [0, 1, 2].map((count) => t("message.missed", { count }));
  assert.deepEqual(missed, ["You missed 0 messages", "You missed 1 message", "You missed 2 messages"]);
  const people = [1, 3, 1234].map((count) => t("people.count", { count }));
  assert.deepEqual(people, ["1 person", "3 people", "1,234 people"]);
  assert.deepEqual(
    [1, 119, 120, 7199, 7200, 86_400].map((seconds) => duration(seconds)),
    ["1 second", "119 seconds", "2 minutes", "120 minutes", "2 hours", "24 hours"],
  );
});

test("who is typing", () => {
  assert.equal(typingText([]), "");
  assert.equal(typingText(["Ana"]), "Ana is typing…");
  assert.equal(typingText(["Ana", "Ben"]), "Ana and Ben are typing…");
  assert.equal(typingText(["Ana", "Ben", "Cleo", "Dan"]), "Several people are typing…");
  assert.equal(isolate("Ana"), "\u2068Ana\u2069");
});

test("the sign of a person", () => {
  assert.deepEqual(["Ana", "ana maria lopez", " Бен ", "😀x", ""].map(initials), ["A", "AL", "Б", "😀", ""]);
  assert.equal(hue("00000000-0000-4000-8000-000000000002"), hue("00000000-0000-4000-8000-000000000002"));
  const hues = new Set(Array.from({ length: 100 }, (_, number) => hue(`00000000-0000-4000-8000-${number}`)));
  assert.equal(hues.size, HUES.length);
});

test("people who are seen together have different hues, as long as there are enough", () => {
  const ids = Array.from({ length: 400 }, (_, number) => `00000000-0000-4000-8000-${String(number).padStart(12, "0")}`);
  const twins = ids.filter((id) => hue(id) === hue(ids[0])); // they would all have one
  const visible = new Set(twins.slice(0, HUES.length));
  const hues = new Hues((id) => visible.has(id));
  const first = [...visible].map((id) => hues.of(id));
  assert.equal(first[0], hue(twins[0]));
  assert.equal(new Set(first).size, HUES.length);
  assert.deepEqual(
    [...visible].map((id) => hues.of(id)),
    first,
    "they stay",
  );

  const [gone, newcomer] = [twins[5], twins[HUES.length]];
  visible.delete(gone);
  visible.add(newcomer);
  assert.equal(hues.of(newcomer), first[5], "what nobody has any more is free");

  visible.add(twins[20]);
  assert.equal(hues.of(twins[20]), hue(twins[20]), "the thirteenth person shares the hue of the id");
  for (const id of ids) hues.of(id);
  assert.deepEqual(
    [...visible].slice(0, 5).map((id) => hues.of(id)),
    first.slice(0, 5),
    "whoever is seen keeps it",
  );
});

test("the language is the first wanted one that the page has", () => {
  assert.equal(chooseLanguage(["fr-FR", "de-AT", "en"]), "de-AT");
  assert.equal(chooseLanguage(["DE"]), "DE");
  assert.equal(chooseLanguage(["fr", "x-private"]), "en");
  assert.equal(chooseLanguage([]), "en");
  assert.deepEqual(["ar-EG", "de", "en-GB"].map(direction), ["rtl", "ltr", "ltr"]);
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

test("account codes", () => {
  assert.equal(formatAccountCode(CODE), "0123-4567-89AB-CDEF-GHJK-MNPQ-RS");
  for (const text of [CODE, ` ${formatAccountCode(CODE)} `, CODE.toLowerCase(), "oI23 4567‑89ab—cdef ghjk-mnpq-rs"])
    assert.equal(parseAccountCode(text), CODE, text);
  for (const text of ["", "nonsense", CODE.slice(1), `8${CODE.slice(1)}`, `${CODE}0`, CODE.replace("A", "U")])
    assert.equal(parseAccountCode(text), undefined, text);
});

test("the secrets in the fragment of a link", () => {
  for (const fragment of ["", "#", "#top", "#invite=", "#=", "#&&"]) assert.deepEqual(secretsIn(fragment), {});
  assert.deepEqual(secretsIn("#invite=S3CR3T_-"), { invite: "S3CR3T_-" });
  assert.deepEqual(secretsIn("#invite=a%2Bb=c"), { invite: "a+b=c" });
  assert.deepEqual(secretsIn("#invite=100%"), { invite: "100%" });
  assert.deepEqual(secretsIn("#k=KEY"), { key: "KEY" });
  assert.deepEqual(secretsIn("#k="), { key: "" });
  assert.deepEqual(secretsIn("#k=KEY&invite=S3CR3T"), { key: "KEY", invite: "S3CR3T" });
  assert.deepEqual(secretsIn("#invite=S3CR3T&later=1&k=KEY"), { key: "KEY", invite: "S3CR3T" });
  assert.equal(withKey("/r/x", "KEY"), "/r/x#k=KEY");
  assert.equal(withKey("/r/x", undefined), "/r/x");
});

test("who may not join or write is told why, and for how long", () => {
  /** @param {Partial<Protocol.ErrorReply>} error */
  const describe = (error) => describeError(new Refused({ message: "No.", ...error }));
  for (const code of ["room_locked", "invite_required", "invite_spent", "banned", "muted"]) {
    assert.ok(describe({ code }) !== "No.");
  }
  assert.equal(describe({ code: "banned", retryAfter: 7200 }), "You are banned from this room for 2 hours.");
  assert.equal(describe({ code: "muted", retryAfter: 0.2 }), "You may not write in this room for 1 second.");
});
