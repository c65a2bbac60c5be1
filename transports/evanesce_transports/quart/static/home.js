// The section with the user's rooms.

import { roomPath } from "./addresses.js";
import { moment, t } from "./i18n.js";

export class Home {
  #elements;
  #api;
  #actions;

  /**
   * @param {import("./elements.js").Elements["home"]} elements
   * @param {import("./api.js").Api} api
   * @param {Page.Actions} actions
   */
  constructor(elements, api, actions) {
    this.#elements = elements;
    this.#api = api;
    this.#actions = actions;
    elements.create.addEventListener("click", () => this.create());
  }

  /** Clear the list of rooms, and load it again. */
  load() {
    this.#elements.rooms.replaceChildren();
    this.#elements.more.hidden = true;
    this.#loadPage("/rooms");
  }

  /** Create a room, and go there. */
  create() {
    const { create, problem } = this.#elements;
    return this.#actions.attempt(create, problem, async () => {
      const { roomId } = await this.#api.request("POST", "/rooms");
      this.#actions.go(roomPath(roomId));
    });
  }

  /** @param {"/rooms" | `/rooms?after=${string}`} path */
  #loadPage(path) {
    const { rooms, more, problem } = this.#elements;
    return this.#actions.attempt(more, problem, async () => {
      const page = await this.#api.request("GET", path);
      const { next } = page;
      rooms.append(...page.rooms.map(roomItem));
      more.hidden = next === undefined;
      more.onclick = next === undefined ? null : () => this.#loadPage(`/rooms?after=${encodeURIComponent(next)}`);
    });
  }
}

/** @param {Protocol.Untagged<Protocol.RoomReply>} room */
function roomItem({ roomId, createdAt, active, memberCount }) {
  const link = document.createElement("a");
  link.href = roomPath(roomId);
  const state = document.createElement("span");
  state.className = "state";
  state.textContent = active ? t("home.inRoom", { count: memberCount }) : t("home.nobody");
  link.append(moment(createdAt), state);
  const item = document.createElement("li");
  item.append(link);
  return item;
}
