// How messages burn down: the line of each, how long it has left, the two steps in which its text pales, and its end.

import { duration, t } from "./i18n.js";

const TICK = 500; // ms. An animation would redraw 60 times a second what moves by some pixels.
const PALE = 0.85; // of the life, from which on the text is paler
const PALEST = 0.95;
const LEAVING = 300; // ms, the last ones of the life

/**
 * A message that burns down. Times are in ms since 1970.
 *
 * @typedef {object} Candle
 * @property {import("./message-view.js").MessageParts} parts
 * @property {number} createdAt
 * @property {number} expiresAt
 * @property {number} [told] how many seconds it is said to have left
 * @property {Animation} [end]
 */

export class Candles {
  #clock;
  /** @type {Map<Element, Candle>} */
  #candles = new Map();
  /** @type {Set<Candle>} */
  #visible = new Set();
  #observer;
  /** @type {number | undefined} */
  #timer;

  /** @param {{ now(): number }} clock the server's time in ms since 1970 */
  constructor(clock) {
    this.#clock = clock;
    this.#observer = new IntersectionObserver((changes) => this.#seen(changes));
  }

  /**
   * Let a message burn down, from what is left of its life.
   *
   * @param {Candle} candle
   */
  add(candle) {
    const { element } = candle.parts;
    this.#candles.set(element, candle);
    this.#observer.observe(element);
    this.#draw(candle);
    this.#timer ??= setInterval(() => this.update(), TICK);
  }

  /** @param {Element} element of a message that was removed */
  remove(element) {
    const candle = this.#candles.get(element);
    if (candle === undefined) return;
    this.#candles.delete(element);
    this.#visible.delete(candle);
    this.#observer.unobserve(element);
    if (this.#candles.size > 0) return;
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  /** Draw again what can be seen. */
  update() {
    for (const candle of this.#visible) this.#draw(candle);
  }

  /** @param {IntersectionObserverEntry[]} changes */
  #seen(changes) {
    for (const { target, isIntersecting } of changes) {
      const candle = this.#candles.get(target);
      if (candle === undefined) continue;
      if (isIntersecting) {
        this.#visible.add(candle);
        this.#draw(candle);
      } else this.#visible.delete(candle);
    }
  }

  /** @param {Candle} candle */
  #draw(candle) {
    const { element, wick, left } = candle.parts;
    const life = candle.expiresAt - candle.createdAt;
    const rest = Math.max(0, candle.expiresAt - this.#clock.now());
    const burnt = 1 - rest / life;
    wick.style.transform = `scaleX(${Math.min(1, rest / life)})`;
    element.classList.toggle("pale", burnt >= PALE);
    element.classList.toggle("palest", burnt >= PALEST);
    const seconds = Math.ceil(rest / 1000);
    // What nobody looks at is told to the nearest 5 s: to lay it out each second costs more than all else.
    const told = element.matches(":hover, :focus-within") ? seconds : Math.ceil(seconds / 5) * 5;
    if (candle.told !== told) left.textContent = t("message.left", { time: duration(told, "short") });
    candle.told = told;
    if (rest > LEAVING + TICK) candle.end?.cancel();
    else if (candle.end === undefined || candle.end.playState === "idle") candle.end = vanish(element, rest - LEAVING);
  }
}

/**
 * Let an element fade out, unless the user wants no motion.
 *
 * @param {HTMLElement} element
 * @param {number} delay ms
 */
export function vanish(element, delay) {
  const length = matchMedia("(prefers-reduced-motion: reduce)").matches ? 0 : LEAVING;
  return element.animate([{ opacity: 1 }, { opacity: 0 }], {
    delay: Math.max(0, delay + LEAVING - length),
    duration: length,
    fill: "forwards",
  });
}
