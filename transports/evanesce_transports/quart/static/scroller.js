// The scrolling of the messages: it follows new ones while its end is seen, whatever changes its size, and else counts them.

import { t } from "./i18n.js";

const AT_END = 80; // px: as near to the end the list follows new messages

export class Scroller {
  #elements;
  #follows = true;
  #unseen = 0;

  /** @param {import("./elements.js").Elements["scroller"]} elements */
  constructor(elements) {
    this.#elements = elements;
    const { scroll, flow, jump } = elements;
    scroll.addEventListener("scroll", () => this.#scrolled());
    jump.addEventListener("click", () => {
      this.toEnd();
      scroll.focus();
    });
    // Also when the keyboard opens, the composer grows, or a banner appears.
    const sizes = new ResizeObserver(() => {
      if (this.#follows) this.toEnd();
      else this.#scrolled();
    });
    sizes.observe(scroll);
    sizes.observe(flow);
  }

  /** Scroll to the end, and follow new messages from now on. */
  toEnd() {
    const { scroll } = this.#elements;
    this.#follows = true;
    scroll.scrollTop = scroll.scrollHeight;
    this.#count(0);
  }

  /** Count a new message that the user does not see. */
  added() {
    if (!this.#follows) this.#count(this.#unseen + 1);
  }

  #scrolled() {
    const { scroll } = this.#elements;
    this.#follows = scroll.scrollHeight - scroll.scrollTop - scroll.clientHeight < AT_END;
    this.#count(this.#follows ? 0 : this.#unseen);
  }

  /** @param {number} unseen */
  #count(unseen) {
    const { jump, jumpText } = this.#elements;
    this.#unseen = unseen;
    jump.hidden = this.#follows;
    const text = unseen === 0 ? t("room.jump") : t("room.newMessages", { count: unseen });
    if (jumpText.textContent !== text) jumpText.textContent = text;
  }
}
