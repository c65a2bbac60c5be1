// The dialog about one person in the room: what its creator can do, or the vote of the others.

import { openDialog } from "./dialogs.js";
import { button, choice, create, labelled, problemElement } from "./dom.js";
import { duration, t } from "./i18n.js";

const MUTES = Object.freeze([300, 3_600, 86_400]); // seconds
const BANS = Object.freeze([0, 3_600, 86_400, 2_592_000, 31_536_000]); // seconds
const USUAL_BAN = 3_600;

/**
 * Show the dialog.
 *
 * @param {import("./room-settings.js").RoomContext} context
 * @param {{ userId: string, name: string }} person
 * @param {boolean} isCreator whether the user created the room
 */
export function openPerson({ rules, attempt, dialogs }, { userId, name }, isCreator) {
  const problem = problemElement();
  /** @param {string} label @param {string} className @param {() => Promise<void>} work */
  const action = (label, className, work) => {
    const element = button(
      label,
      () =>
        attempt(element, problem, async () => {
          await work();
          dialog.close();
        }),
      className,
    );
    return element;
  };
  const content = isCreator ? creatorsPart() : votersPart();
  const dialog = openDialog(name, [...content, problem], { className: "person", signal: dialogs() });

  function creatorsPart() {
    const time = choice(MUTES, (seconds) => duration(seconds), MUTES[0]);
    const ban = choice(BANS, (seconds) => (seconds === 0 ? t("person.noBan") : duration(seconds)), USUAL_BAN);
    const isMuted = rules.mutedUntil(userId) !== undefined;
    const mute = action(t("person.mute"), "quiet", () => rules.mute(userId, Number(time.value)));
    const unmute = action(t("person.unmute"), "quiet", () => rules.mute(userId, 0));
    const remove = action(t("person.remove"), "danger", () => rules.remove(userId, Number(ban.value)));
    return [
      create("div", { className: "fields" }, labelled(t("person.muteFor"), time), mute, ...(isMuted ? [unmute] : [])),
      create("div", { className: "fields" }, labelled(t("person.banFor"), ban), remove),
    ];
  }

  function votersPart() {
    const vote = action(t("person.voteNow"), "danger", () => rules.vote(userId));
    return [create("p", { textContent: t("person.voteText") }), create("div", { className: "row" }, vote)];
  }
}
