// The shortcuts of the keyboard. Each needs a modifier, so that no letter does something by accident; letters alone work on a
// message that has the focus, where messages are handled.

/** The code of the key by the name of what it does; each with Alt and Shift. */
const SHORTCUTS = Object.freeze({
  latest: "KeyJ",
  people: "KeyP",
  share: "KeyL",
  write: "KeyM",
  messages: "KeyK",
});
const HELP = "/"; // with Ctrl, or with the command key of a Mac

/** @typedef {keyof typeof SHORTCUTS | "help"} Shortcut */

/**
 * Return the shortcuts and their keys, for people.
 *
 * @returns {[Shortcut, string[]][]}
 */
export function describeShortcuts() {
  const others = Object.entries(SHORTCUTS).map(([name, code]) => [name, ["Alt", "Shift", code.slice("Key".length)]]);
  return /** @type {[Shortcut, string[]][]} */ ([["help", [isMac() ? "⌘" : "Ctrl", HELP]], ...others]);
}

/**
 * Return the shortcut that was pressed; null where it was none.
 *
 * @param {KeyboardEvent} event
 * @returns {Shortcut | null}
 */
export function shortcutOf({ altKey, ctrlKey, metaKey, shiftKey, code, key, isComposing }) {
  if (isComposing) return null;
  if (key === HELP && (isMac() ? metaKey : ctrlKey) && !altKey) return "help";
  if (!altKey || !shiftKey || ctrlKey || metaKey) return null;
  const found = Object.entries(SHORTCUTS).find(([, one]) => one === code);
  return /** @type {Shortcut | null} */ (found?.[0] ?? null);
}

/**
 * Call `pressed` for each shortcut, which returns whether it did something.
 *
 * @param {EventTarget} target
 * @param {(shortcut: Shortcut) => boolean} pressed
 */
export function listen(target, pressed) {
  target.addEventListener("keydown", (event) => {
    const shortcut = shortcutOf(/** @type {KeyboardEvent} */ (event));
    if (shortcut !== null && pressed(shortcut)) event.preventDefault();
  });
}

function isMac() {
  return navigator.platform.startsWith("Mac") || navigator.platform.startsWith("iP");
}
