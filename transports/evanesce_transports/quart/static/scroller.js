// The scrolling of the messages: it follows new ones while its end is seen, whatever changes its size, and else counts them.

import { t } from "./i18n.js";

const AT_END = 80; // px: as near to the end the list follows new messages

export class Scroller {
  #elements;
  #follows = true;
  #isHolding = false;
  #unseen = 0;
  #height = 0; // px of all that can be scrolled, as it was drawn last: more may have come since

  /** @param {Pick<import("./elements.js").Elements, "scroller" | "timeline">} elements */
  constructor({ scroller, timeline }) {
    const elements = (this.#elements = { ...scroller, empty: timeline.empty });
    const { scroll, flow, jump } = elements;
    scroll.addEventListener("scroll", () => this.#scrolled());
    jump.addEventListener("click", () => {
      this.toEnd();
      scroll.focus();
    });
    // Also when the keyboard opens, the composer grows, or a banner appears.
    const sizes = new ResizeObserver(() => {
      this.#place();
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
    scroll.scrollTop = this.#elements.empty.hidden ? scroll.scrollHeight : 0;
    this.#count(0);
  }

  /** Count a new message that the user does not see. */
  added() {
    if (!this.#follows) this.#count(this.#unseen + 1);
  }

  /**
   * Keep the texts that are read where they are, although something of the list goes in this task. The browser does it for what
   * is above the window, but not where a message at its top changes as well, because the one before it is gone.
   *
   * @param {Iterable<HTMLElement>} texts in their order
   */
  hold(texts) {
    if (this.#follows || this.#isHolding) return;
    const { scroll } = this.#elements;
    const { top, bottom } = scroll.getBoundingClientRect();
    const read = [...texts].map((text) => ({ text, at: text.getBoundingClientRect().top }));
    const seen = read.filter(({ at }) => at >= top && at < bottom);
    this.#isHolding = true;
    queueMicrotask(() => {
      this.#isHolding = false;
      const kept = seen.find(({ text }) => text.isConnected);
      if (kept !== undefined) scroll.scrollTop += kept.text.getBoundingClientRect().top - kept.at;
    });
  }

  /** Put a list that is shorter than its place at the end of it, or what is shown instead of messages in the middle. */
  #place() {
    const { scroll, flow, empty } = this.#elements;
    const { paddingTop, paddingBottom } = getComputedStyle(scroll);
    const height = scroll.clientHeight - parseFloat(paddingTop) - parseFloat(paddingBottom);
    const free = Math.max(0, height - flow.getBoundingClientRect().height);
    flow.style.transform = `translateY(${empty.hidden ? free : free / 2}px)`;
    this.#height = scroll.scrollHeight;
  }

  #scrolled() {
    const { scroll } = this.#elements;
    this.#follows = this.#height - scroll.scrollTop - scroll.clientHeight < AT_END;
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
