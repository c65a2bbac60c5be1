// The section of the room, whose modules are most of the page: they are loaded when the first part of the page is there.

/** @typedef {import("./room-view.js").RoomView} RoomView */

export class RoomLoader {
  #create;
  /** @type {Promise<RoomView> | null} */
  #loading = null;
  /** @type {RoomView | null} */
  #view = null;

  /** @param {(View: typeof import("./room-view.js").RoomView) => RoomView} create */
  constructor(create) {
    this.#create = create;
  }

  /** Return the section, if it is loaded. */
  get view() {
    return this.#view;
  }

  /** Load the section. Throws what the import throws; then the next call tries again. */
  load() {
    this.#loading ??= this.#load().catch((error) => {
      this.#loading = null;
      throw error;
    });
    return this.#loading;
  }

  /** Load the section before it is needed. */
  prepare() {
    this.load().catch(() => {}); // whoever needs it is told
  }

  async #load() {
    const { RoomView } = await import("./room-view.js");
    this.#view = this.#create(RoomView);
    return this.#view;
  }
}
