// The section with the user's rooms.

import { roomPath } from "./addresses.js";
import { unnamed } from "./format.js";
import { moment, t } from "./i18n.js";

export class Home {
  #elements;
  #api;
  #actions;
  #private;

  /**
   * @param {import("./elements.js").Elements["home"]} elements
   * @param {import("./api.js").Api} api
   * @param {Page.Actions} actions
   * @param {Page.Private} ofUser
   */
  constructor(elements, api, actions, ofUser) {
    this.#elements = elements;
    this.#api = api;
    this.#actions = actions;
    this.#private = ofUser;
    elements.create.addEventListener("click", () => this.create());
    elements.options.addEventListener("click", () => this.#chooseOptions());
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

  async #chooseOptions() {
    const { openCreateRoom } = await import("./create-room-dialog.js");
    openCreateRoom(this.#actions, async ({ locked, ...options }, key) => {
      const { roomId } = await this.#api.request("POST", "/rooms", options);
      if (key !== undefined) this.#private.keys.set(roomId, key);
      if (locked) await this.#api.request("PATCH", `/rooms/${roomId}`, { locked });
      this.#actions.go(roomPath(roomId));
    });
  }

  /** @param {"/rooms" | `/rooms?after=${string}`} path */
  #loadPage(path) {
    const { rooms, more, problem } = this.#elements;
    return this.#actions.attempt(more, problem, async () => {
      const page = await this.#api.request("GET", path);
      const { next } = page;
      rooms.append(...page.rooms.map((room) => roomItem(room, this.#private.names.get(room.roomId))));
      more.hidden = next === undefined;
      more.onclick = next === undefined ? null : () => this.#loadPage(`/rooms?after=${encodeURIComponent(next)}`);
    });
  }
}

/**
 * @param {Protocol.Untagged<Protocol.RoomReply>} room
 * @param {string | undefined} name the user's own of the room
 */
function roomItem({ roomId, createdAt, active, memberCount }, name) {
  const link = document.createElement("a");
  link.href = roomPath(roomId);
  const state = document.createElement("span");
  state.className = "state";
  state.textContent = active ? t("home.inRoom", { count: memberCount }) : t("home.nobody");
  const label = document.createElement("bdi");
  label.textContent = name ?? `${unnamed(roomId)} · ${moment(createdAt)}`;
  link.append(label, state);
  const item = document.createElement("li");
  item.append(link);
  return item;
}
