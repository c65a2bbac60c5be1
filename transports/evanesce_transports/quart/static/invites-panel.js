// The invites of a room: new ones, with a link and a code to scan, and those that hold, which can be revoked.

import { button, choice, create, labelled } from "./dom.js";
import { duration, moment, t } from "./i18n.js";
import { linkPanel } from "./link-panel.js";

const MOST_PEOPLE = 1_000;
const TIMES = Object.freeze([3_600, 86_400, 604_800, 2_592_000]); // seconds
const USUAL_TIME = 86_400;

export class InvitesPanel {
  #context;
  #problem;
  #list = create("ul", { className: "invites" });
  #created = create("div", { className: "created" });
  element;

  /**
   * @param {import("./room-settings.js").RoomContext} context
   * @param {HTMLElement} problem
   */
  constructor(context, problem) {
    this.#context = context;
    this.#problem = problem;
    this.#created.setAttribute("role", "status");
    this.#list.setAttribute("aria-label", t("invites.list"));
    const title = create("h3", { textContent: t("invites.title") });
    this.element = create("section", {}, title, this.#form(), this.#created, this.#list);
  }

  /** Load the invites that hold. Throws as `Rules.invites` does. */
  async load() {
    const invites = await this.#context.rules.invites();
    this.#list.replaceChildren(...invites.map((invite) => this.#item(invite)));
  }

  #form() {
    const people = create("input", { type: "number", min: "1", max: `${MOST_PEOPLE}`, value: "1", required: true });
    people.inputMode = "numeric";
    const time = choice(TIMES, (seconds) => duration(seconds), USUAL_TIME);
    const submit = create("button", { textContent: t("invites.create") });
    const form = create("form", { className: "fields" }, labelled(t("invites.people"), people));
    form.append(labelled(t("invites.time"), time), submit);
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      const { attempt } = this.#context;
      attempt(submit, this.#problem, () => this.#create(Number(people.value), Number(time.value)));
    });
    return form;
  }

  /**
   * @param {number} people
   * @param {number} seconds
   */
  async #create(people, seconds) {
    const { rules, withKey } = this.#context;
    const invite = await rules.invite(people, seconds);
    const text = create("p", { textContent: t("invites.created", { count: people }) });
    this.#created.replaceChildren(text, linkPanel(withKey(invite.link), t("invites.link")));
    this.#list.prepend(this.#item(invite));
  }

  /** @param {Protocol.InviteInfo} invite */
  #item({ inviteId, people, left, expiresAt }) {
    const item = create("li");
    const text = t("invites.state", { left, people, time: moment(expiresAt) });
    const revoke = button(t("invites.revoke"), () =>
      this.#context.attempt(revoke, this.#problem, async () => {
        await this.#context.rules.revokeInvite(inviteId);
        const neighbour = item.nextElementSibling ?? item.previousElementSibling;
        item.remove();
        this.#created.replaceChildren();
        const next =
          neighbour?.lastElementChild ?? this.element.firstElementChild?.nextElementSibling?.lastElementChild;
        if (next instanceof HTMLElement) next.focus();
      }),
    );
    item.append(create("span", { textContent: text }), revoke);
    return item;
  }
}
