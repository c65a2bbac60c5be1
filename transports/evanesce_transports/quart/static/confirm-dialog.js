// The dialog that asks the user for a confirmation.

export class ConfirmDialog {
  #elements;

  /** @param {import("./elements.js").Elements["confirm"]} elements */
  constructor(elements) {
    this.#elements = elements;
  }

  /**
   * Show the dialog, and return whether the user confirmed.
   *
   * @param {string} title
   * @param {string[]} paragraphs
   * @param {string} label of the button that confirms
   * @returns {Promise<boolean>}
   */
  ask(title, paragraphs, label) {
    const { dialog, yes } = this.#elements;
    this.#elements.title.textContent = title;
    this.#elements.text.replaceChildren(
      ...paragraphs.map((text) => Object.assign(document.createElement("p"), { textContent: text })),
    );
    yes.textContent = label;
    dialog.returnValue = "";
    dialog.showModal();
    return new Promise((resolve) => {
      dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
    });
  }
}
