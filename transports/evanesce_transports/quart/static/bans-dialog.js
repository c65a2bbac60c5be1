// The dialog with the people who are banned from a room, page by page, and the end of their bans.

import { openDialog } from "./dialogs.js";
import { button, create, problemElement } from "./dom.js";
import { moment, t } from "./i18n.js";

/**
 * Show the dialog, and load the first page.
 *
 * @param {import("./room-settings.js").RoomContext} context
 */
export function openBans({ rules, attempt, dialogs }) {
  const list = create("ul", { className: "bans" });
  list.setAttribute("aria-label", t("bans.title"));
  const nobody = create("p", { textContent: t("bans.nobody"), hidden: true });
  const problem = problemElement();
  const more = button(t("bans.more"), () => attempt(more, problem, load));
  /** @type {string | undefined} */
  let after;

  async function load() {
    const { bans, next } = await rules.bans(after);
    after = next;
    more.hidden = next === undefined;
    list.append(...bans.map(banItem));
    nobody.hidden = list.childElementCount > 0;
  }

  /** @param {Protocol.BanInfo} ban */
  function banItem({ userId, displayName, until }) {
    const item = create("li");
    const name = create("bdi", { textContent: displayName || t("bans.erased") });
    const unban = button(t("bans.unban"), () =>
      attempt(unban, problem, async () => {
        await rules.unban(userId);
        const neighbour = item.nextElementSibling ?? item.previousElementSibling;
        item.remove();
        nobody.hidden = list.childElementCount > 0;
        const next = neighbour?.lastElementChild ?? dialog;
        if (next instanceof HTMLElement) next.focus();
      }),
    );
    unban.setAttribute("aria-label", t("bans.unbanName", { name: name.textContent ?? "" }));
    item.append(create("span", {}, name, ` – ${t("bans.until", { time: moment(until) })}`), unban);
    return item;
  }

  const dialog = openDialog(t("bans.title"), [nobody, list, problem, more], { signal: dialogs() });
  dialog.tabIndex = -1;
  more.hidden = true;
  attempt(more, problem, load);
}
