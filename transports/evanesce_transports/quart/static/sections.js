// The sections of the page, of which one is shown, and the banner above them.

/** @typedef {keyof import("./elements.js").Elements["sections"]} Section */

export class Sections {
  #sections;
  #loading;
  #stopped;
  #banner;
  #bar;

  /**
   * @param {Pick<import("./elements.js").Elements, "sections" | "loading" | "stopped" | "banner" | "bar">} elements
   * @param {{ retryConnection(): void, reopen(): void }} actions of the banner's button, and of the one of `stopped`
   */
  constructor({ sections, loading, stopped, banner, bar }, { retryConnection, reopen }) {
    this.#sections = sections;
    this.#loading = loading;
    this.#stopped = stopped;
    this.#banner = banner;
    this.#bar = bar;
    banner.retry.addEventListener("click", retryConnection);
    stopped.retry.addEventListener("click", reopen);
  }

  /**
   * Show this section in place of the one that was shown, without a banner.
   *
   * @param {Section} section
   */
  show(section) {
    this.#loading.element.hidden = true;
    for (const [name, element] of Object.entries(this.#sections)) element.hidden = name !== section;
    for (const element of Object.values(this.#bar)) element.hidden = section !== "room";
    this.showBanner(null);
  }

  /** Show that the page has not loaded completely, in place of all sections, and focus the title of that. */
  showIncomplete() {
    for (const element of [...Object.values(this.#sections), ...Object.values(this.#bar)]) element.hidden = true;
    const { element, title } = this.#loading;
    element.classList.add("failed"); // it is known: nobody has to wait
    element.hidden = false;
    title.focus();
  }

  /**
   * Set the text of the section `stopped`.
   *
   * @param {string} title
   * @param {string} text
   * @param {boolean} retry whether it has a button to try again
   */
  describeStop(title, text, retry) {
    this.#stopped.title.textContent = title;
    this.#stopped.text.textContent = text;
    this.#stopped.retry.hidden = !retry;
  }

  /** Focus the title of the section `stopped`: what had the focus is hidden. */
  focusStop() {
    this.#stopped.title.focus();
  }

  /**
   * Show the banner with this text; null hides it.
   *
   * @param {string | null} text
   * @param {boolean} retry whether it has a button to try again
   */
  showBanner(text, retry = false) {
    this.#banner.element.hidden = text === null;
    this.#banner.text.textContent = text ?? "";
    this.#banner.retry.hidden = !retry;
  }
}
