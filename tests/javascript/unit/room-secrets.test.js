// What the page knows of rooms for the user alone: keys of their encryption, and the user's names for them.

import assert from "node:assert/strict";
import { test } from "node:test";
import { secretsIn } from "#page/client/index.js";
import { Nicknames } from "#page/nicknames.js";
import { isKey, newKey, RoomKeys } from "#page/room-key.js";
import { RoomStore } from "#page/room-store.js";

const ROOM = "5b1f2c1e-0d3e-4c7e-8a43-6f4ad1f0d3a1";
const OTHER = "5b1f2c1e-0d3e-4c7e-8a43-6f4ad1f0d3a2";
const KEY = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";

/** A browser with local storage, an address bar, and an account. */
class Browser {
  /** @type {Map<string, string>} */
  kept = new Map();
  location = { pathname: `/r/${ROOM}`, search: "", hash: "" };
  /** @type {string[]} */
  replaced = [];
  history = {
    state: null,
    replaceState: (/** @type {unknown} */ _, /** @type {string} */ __, /** @type {string} */ address) => {
      this.replaced.push(address);
      this.location.hash = "";
    },
  };
  /** @type {{ userId: string } | null} */
  account = { userId: "ana" };
  accounts = { current: () => /** @type {Page.Account | null} */ (this.account) };

  constructor() {
    Object.assign(globalThis, {
      localStorage: {
        getItem: (/** @type {string} */ key) => this.kept.get(key) ?? null,
        setItem: (/** @type {string} */ key, /** @type {string} */ value) => void this.kept.set(key, value),
        removeItem: (/** @type {string} */ key) => void this.kept.delete(key),
      },
    });
  }

  keys() {
    const { location, history } = this;
    return new RoomKeys(this.accounts, /** @type {any} */ ({ location, history }));
  }
}

test("a key leaves the address bar at once, and is in no storage", () => {
  const browser = new Browser();
  browser.location.hash = `#k=${KEY}&invite=secret`;
  const keys = browser.keys();
  assert.ok(keys.takeFromAddress(ROOM));
  assert.deepEqual(browser.replaced, [`/r/${ROOM}`]);
  assert.deepEqual(keys.secrets(ROOM), { key: KEY, invite: "secret" });
  assert.deepEqual(keys.secrets(OTHER), {});
  assert.ok(!keys.takeFromAddress(ROOM));
  keys.admitted(ROOM);
  assert.deepEqual(keys.secrets(ROOM), { key: KEY });
  assert.equal(browser.kept.size, 0);
  assert.deepEqual(browser.keys().secrets(ROOM), {});
});

test("a fragment that is no secret is removed, too", () => {
  const browser = new Browser();
  browser.location.hash = "#top";
  assert.ok(!browser.keys().takeFromAddress(ROOM));
  assert.deepEqual(browser.replaced, [`/r/${ROOM}`]);
});

test("a later link of the same room adds to what is known", () => {
  const browser = new Browser();
  const keys = browser.keys();
  browser.location.hash = `#k=${KEY}`;
  keys.takeFromAddress(ROOM);
  browser.location.hash = "#invite=secret";
  keys.takeFromAddress(ROOM);
  assert.deepEqual(keys.secrets(ROOM), { key: KEY, invite: "secret" });
});

test("a key is kept in the browser only where the user asks for it", () => {
  const browser = new Browser();
  const keys = browser.keys();
  keys.set(ROOM, KEY);
  assert.ok(!keys.isKept(ROOM));
  keys.keep(ROOM, true);
  assert.ok(keys.isKept(ROOM));
  assert.deepEqual(browser.keys().secrets(ROOM), { key: KEY });
  browser.account = { userId: "ben" };
  assert.deepEqual(browser.keys().secrets(ROOM), {});
  browser.account = { userId: "ana" };
  keys.keep(ROOM, false);
  assert.deepEqual(keys.secrets(ROOM), { key: KEY });
  assert.equal(browser.kept.size, 0);
  keys.keep(ROOM, true);
  keys.clear();
  assert.deepEqual(keys.secrets(ROOM), {});
  assert.equal(browser.kept.size, 0);
});

test("a key is taken from the link of its room, or alone", () => {
  const keys = new Browser().keys();
  const link = `https://chat.example.org/r/${ROOM}`;
  for (const text of ["", "nonsense", link, `${link}#k=short`, `https://chat.example.org/r/${OTHER}#k=${KEY}`]) {
    assert.ok(!keys.takeFromText(ROOM, text), text);
  }
  assert.deepEqual(keys.secrets(ROOM), {});
  for (const text of [KEY, ` ${KEY}\n`, `${link}#k=${KEY}`, `${link}#invite=secret&k=${KEY}`]) {
    assert.ok(keys.takeFromText(ROOM, text), text);
    assert.equal(keys.secrets(ROOM).key, KEY);
  }
});

test("a new key is 32 random bytes, and a client takes it from a link", () => {
  const [one, other] = [newKey(), newKey()];
  assert.ok(isKey(one) && isKey(other) && one !== other);
  assert.deepEqual(secretsIn(`#k=${one}`), { key: one });
  assert.ok(!isKey(`${one}=`) && !isKey(one.slice(1)) && !isKey(`+${one.slice(1)}`));
});

test("the user's names of rooms", () => {
  const browser = new Browser();
  const names = new Nicknames(browser.accounts);
  assert.equal(names.get(ROOM), undefined);
  assert.equal(names.set(ROOM, "  Friday\n evening "), "Friday  evening");
  assert.equal(new Nicknames(browser.accounts).get(ROOM), "Friday  evening");
  assert.equal([...names.set(OTHER, "🎈".repeat(100))].length, 40);
  assert.equal([...(names.get(OTHER) ?? "")].length, 40);
  assert.equal(names.set(ROOM, " "), "");
  assert.equal(names.get(ROOM), undefined);
  browser.account = { userId: "ben" };
  assert.equal(names.get(OTHER), undefined);
  names.clear();
  assert.equal(browser.kept.size, 0);
});

test("what is kept for rooms is bounded, and the oldest goes first", () => {
  const browser = new Browser();
  const store = new RoomStore("test", { most: 3, longest: 5 });
  for (const room of ["a", "b", "c", "a", "d"]) store.set("ana", room, `of ${room}`);
  assert.deepEqual(
    ["a", "b", "c", "d"].map((room) => store.get("ana", room)),
    ["of a", undefined, "of c", "of d"],
  );
  store.set("ana", "d", "longer");
  assert.equal(store.get("ana", "d"), undefined);
  for (const bad of ["no JSON", '{"userId":"ana","texts":7}', '{"userId":"ana","texts":[["a"],[1,2],null]}', "[]"]) {
    for (const key of browser.kept.keys()) browser.kept.set(key, bad);
    assert.equal(store.get("ana", "a"), undefined);
  }
});

test("a browser that forbids storage keeps nothing, and nothing fails", () => {
  const browser = new Browser();
  const forbidden = () => {
    throw new TypeError("forbidden");
  };
  Object.assign(globalThis, { localStorage: { getItem: forbidden, setItem: forbidden, removeItem: forbidden } });
  const keys = browser.keys();
  keys.set(ROOM, KEY);
  keys.keep(ROOM, true);
  assert.ok(!keys.isKept(ROOM));
  assert.deepEqual(keys.secrets(ROOM), { key: KEY });
  keys.clear();
});
