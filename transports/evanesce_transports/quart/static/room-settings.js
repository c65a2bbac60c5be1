// The dialog in which the creator of a room decides its rules: for how long messages live, who may join, who is invited or banned.

import { openBans } from "./bans-dialog.js";
import { openDialog } from "./dialogs.js";
import { button, checkable, checkbox, choice, create, labelled, problemElement } from "./dom.js";
import { duration, t } from "./i18n.js";
import { InvitesPanel } from "./invites-panel.js";
import { lifetimes } from "./lifetimes.js";

/**
 * What the dialogs about a room need.
 *
 * @typedef {object} RoomContext
 * @property {import("./rules.js").Rules} rules
 * @property {() => { shortestTtl: number, longestTtl: number }} limits in seconds
 * @property {Page.Attempt} attempt
 * @property {(link: string) => string} withKey adds the key of the room's encryption to a link
 * @property {() => AbortSignal} dialogs returns a signal that closes the dialogs which are open now
 */

export class RoomSettings {
  #context;
  /** @type {(() => void) | null} */
  #update = null; // while the dialog is open

  /** @param {RoomContext} context */
  constructor(context) {
    this.#context = context;
  }

  /** Show the dialog. */
  open() {
    const { attempt, dialogs } = this.#context;
    const problem = problemElement();
    const { fields, update } = ruleFields(this.#context, problem);
    const invites = new InvitesPanel(this.#context, problem);
    const bans = button(t("rules.bans"), () => openBans(this.#context));
    openDialog(t("rules.title"), [...fields, problem, invites.element, create("div", { className: "row" }, bans)], {
      className: "settings",
      signal: dialogs(),
      closed: () => (this.#update = null),
    });
    this.#update = update;
    update();
    attempt(bans, problem, () => invites.load());
  }

  /** Show the rules as they are now, if the dialog is open. */
  update() {
    this.#update?.();
  }
}

/**
 * Return the fields of the rules, which change them at once, and a function that shows the rules as they are.
 *
 * @param {RoomContext} context
 * @param {HTMLElement} problem
 */
function ruleFields({ rules, limits, attempt }, problem) {
  const { shortestTtl, longestTtl } = limits();
  const ttl = choice(lifetimes(shortestTtl, longestTtl), (seconds) => duration(seconds), rules.options?.messageTtl);
  const locked = checkbox();
  const invited = checkbox();
  const update = () => {
    const { options } = rules;
    if (options === null) return;
    ttl.value = `${options.messageTtl}`;
    locked.checked = options.locked;
    invited.checked = options.access === "invite";
  };
  /** @param {HTMLElement & { disabled: boolean }} field @param {() => Parameters<typeof rules.update>[0]} changes */
  const change = (field, changes) => {
    field.addEventListener("change", async () => {
      // The problem is shown by `attempt`, and the field shows what holds, also after a refusal.
      await attempt(/** @type {HTMLButtonElement} */ (field), problem, () => rules.update(changes()));
      update();
      field.focus();
    });
  };
  change(ttl, () => ({ messageTtl: Number(ttl.value) }));
  change(locked, () => ({ locked: locked.checked }));
  change(invited, () => ({ access: invited.checked ? "invite" : "link" }));
  const fields = [
    labelled(t("rules.ttl"), ttl),
    checkable(t("rules.locked"), locked, t("rules.lockedText")),
    checkable(t("rules.invited"), invited, t("rules.invitedText")),
  ];
  return { fields, update };
}
