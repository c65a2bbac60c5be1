// The dialog in which the user decides the rules of a new room.

import { openDialog } from "./dialogs.js";
import { checkable, checkbox, choice, create, labelled, problemElement } from "./dom.js";
import { duration, t } from "./i18n.js";
import { newKey } from "./room-key.js";

const SERVERS = 0; // stands for the time that the server has chosen
const TIMES = Object.freeze([SERVERS, 10, 30, 60, 300, 900, 3_600, 86_400]); // seconds

/**
 * What the user wants of a new room.
 *
 * @typedef {{ messageTtl?: number, access?: string, encrypted?: boolean, locked: boolean }} Wishes
 */

/**
 * Show the dialog.
 *
 * @param {Pick<Page.Actions, "attempt" | "dialogs">} actions
 * @param {(wishes: Wishes, key: string | undefined) => Promise<void>} open opens the room; `key` is that of its encryption
 */
export function openCreateRoom({ attempt, dialogs }, open) {
  const invited = checkbox();
  const encrypted = checkbox();
  const locked = checkbox();
  const ttl = choice(TIMES, (seconds) => (seconds === SERVERS ? t("create.usual") : duration(seconds)), SERVERS);
  const problem = problemElement();
  const submit = create("button", { textContent: t("home.create") });
  const form = create("form", { className: "rules" });
  form.append(
    labelled(t("rules.ttl"), ttl),
    checkable(t("rules.invited"), invited, t("rules.invitedText")),
    checkable(t("create.encrypted"), encrypted, t("create.encryptedText")),
    checkable(t("rules.locked"), locked, t("rules.lockedText")),
    problem,
    submit,
  );
  // Browsers encrypt only on pages from HTTPS or from the same machine.
  encrypted.disabled = !isSecureContext;
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const wishes = {
      ...(Number(ttl.value) !== SERVERS && { messageTtl: Number(ttl.value) }),
      ...(invited.checked && { access: "invite" }),
      ...(encrypted.checked && { encrypted: true }),
      locked: locked.checked,
    };
    attempt(submit, problem, async () => {
      await open(wishes, encrypted.checked ? newKey() : undefined);
      dialog.close();
    });
  });
  const dialog = openDialog(t("create.title"), [form], {
    className: "settings",
    closeLabel: t("page.cancel"),
    signal: dialogs(),
  });
}
