// What tells the user of messages while nobody looks at the page, and the shortcuts of the keyboard.

import assert from "node:assert/strict";
import { test } from "node:test";
import { AlertSettings } from "#page/alert-settings.js";
import { Notifications } from "#page/notifications.js";
import { describeShortcuts, shortcutOf } from "#page/shortcuts.js";
import { Unread } from "#page/unread.js";

test("the title and the badge count the messages that nobody has seen, as long as they live", () => {
  /** @type {unknown[]} */
  const shown = [];
  const unread = new Unread({
    setTitle: (title) => shown.push(title),
    setAppBadge: async (count) => void shown.push(count),
  });
  unread.setTitle("Room");
  unread.add("1");
  unread.add("2");
  unread.add("2");
  unread.remove("1");
  unread.remove("never seen");
  unread.setTitle("Other");
  unread.clear();
  unread.clear();
  const counted = ["(1) Room", 1, "(2) Room", 2, "(2) Room", 2, "(1) Room", 1, "(1) Other", "Other", 0];
  assert.deepEqual(shown, ["Room", ...counted]);
  for (let number = 0; number < 120; number += 1) unread.add(`${number}`);
  assert.deepEqual(shown.slice(-2), ["(99+) Other", 120]);
});

test("a browser without badges, or one that refuses them", async () => {
  let title = "";
  const setTitle = (/** @type {string} */ text) => void (title = text);
  for (const setAppBadge of [undefined, () => Promise.reject(new Error("not installed"))]) {
    const unread = new Unread({ setTitle, setAppBadge });
    unread.setTitle("Room");
    unread.add("1");
    await Promise.resolve();
    assert.equal(title, "(1) Room");
  }
});

/** What shows notifications, and what of them is there. */
class Desk {
  /** @type {string[]} */
  log = [];
  /** @type {Set<string>} */
  open = new Set();
  forbids = false;

  /** @type {(title: string, options: NotificationOptions) => Promise<{ close(): void }>} */
  show = async (title, { body, tag, silent }) => {
    await Promise.resolve();
    if (this.forbids) throw new TypeError("no permission");
    assert.equal(silent, true);
    const text = `${tag}: ${title}: ${body}`;
    this.open.add(text);
    return { close: () => void this.open.delete(text) };
  };
  /** @type {(count: number, last: { senderName: string, text: string | null }) => { title: string, body: string }} */
  describe = (count, { senderName, text }) => ({ title: senderName, body: text ?? `${count} new` });
}

test("one notification for a room, withdrawn when its messages are gone", async () => {
  const desk = new Desk();
  const notifications = new Notifications("room", desk);
  notifications.add("1", { senderName: "Ana", text: null });
  await notifications.add("2", { senderName: "Ben", text: null });
  assert.deepEqual([...desk.open], ["room: Ben: 2 new"]);
  await notifications.remove("2");
  assert.deepEqual([...desk.open], ["room: Ana: 1 new"]);
  await notifications.remove("unknown");
  await notifications.remove("1");
  assert.deepEqual([...desk.open], []);
  notifications.add("3", { senderName: "Ana", text: "x".repeat(5_000) });
  await notifications.add("4", { senderName: "Ana", text: "hello" });
  assert.deepEqual([...desk.open], ["room: Ana: hello"]);
  await notifications.clear();
  assert.deepEqual([...desk.open], []);
});

test("what is withdrawn while it is being shown does not stay", async () => {
  const desk = new Desk();
  const notifications = new Notifications("room", desk);
  notifications.add("1", { senderName: "Ana", text: "secret" });
  notifications.remove("1");
  await notifications.clear();
  assert.deepEqual([...desk.open], []);
});

test("a permission that was withdrawn stops nothing", async () => {
  const desk = new Desk();
  const notifications = new Notifications("room", desk);
  desk.forbids = true;
  await notifications.add("1", { senderName: "Ana", text: null });
  desk.forbids = false;
  await notifications.add("2", { senderName: "Ana", text: null });
  assert.deepEqual([...desk.open], ["room: Ana: 2 new"]);
});

test("nobody is told of anything before they ask for it, nor after they have signed out", () => {
  /** @type {Map<string, string>} */
  const kept = new Map();
  Object.assign(globalThis, {
    localStorage: {
      getItem: (/** @type {string} */ key) => kept.get(key) ?? null,
      setItem: (/** @type {string} */ key, /** @type {string} */ value) => void kept.set(key, value),
      removeItem: (/** @type {string} */ key) => void kept.delete(key),
    },
  });
  const settings = new AlertSettings();
  const nothing = { notify: false, content: false, sound: false };
  assert.deepEqual(settings.current, nothing);
  settings.update({ sound: true });
  assert.deepEqual(new AlertSettings().current, { ...nothing, sound: true });
  for (const key of kept.keys()) kept.set(key, '{"notify":"yes","content":1}');
  assert.deepEqual(new AlertSettings().current, nothing);
  settings.clear();
  assert.deepEqual(settings.current, nothing);
  assert.equal(kept.size, 0);
});

test("shortcuts need a modifier, and no composition is disturbed", () => {
  const none = { altKey: false, ctrlKey: false, metaKey: false, shiftKey: false, isComposing: false };
  /** @param {Partial<KeyboardEvent>} event */
  const pressed = (event) => shortcutOf(/** @type {KeyboardEvent} */ ({ ...none, code: "", key: "", ...event }));
  for (const [platform, modifier] of [
    ["Linux x86_64", "ctrlKey"],
    ["MacIntel", "metaKey"],
  ]) {
    Object.defineProperty(globalThis, "navigator", { value: { platform }, configurable: true });
    assert.equal(pressed({ key: "/", [modifier]: true }), "help");
    assert.equal(pressed({ key: "/" }), null);
    assert.equal(pressed({ key: "/", [modifier]: true, isComposing: true }), null);
  }
  assert.equal(pressed({ code: "KeyP", key: "∏", altKey: true, shiftKey: true }), "people");
  for (const event of [{ code: "KeyP" }, { code: "KeyP", altKey: true }, { code: "KeyP", shiftKey: true }]) {
    assert.equal(pressed(event), null);
  }
  assert.equal(pressed({ code: "KeyP", altKey: true, shiftKey: true, ctrlKey: true }), null);
  const keys = describeShortcuts().map(([, shown]) => shown.join(" "));
  assert.equal(new Set(keys).size, keys.length);
});
