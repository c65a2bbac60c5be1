// Elements that modules make themselves: parts of the page that are loaded when they are needed. Text is set as text alone.

/**
 * Return a new element.
 *
 * @template {keyof HTMLElementTagNameMap} Tag
 * @param {Tag} tag
 * @param {Partial<Omit<HTMLElementTagNameMap[Tag], "style">>} [properties]
 * @param {(Node | string)[]} children
 * @returns {HTMLElementTagNameMap[Tag]}
 */
export function create(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  Object.assign(element, properties);
  element.append(...children);
  return element;
}

/**
 * Return a button.
 *
 * @param {string} label
 * @param {(event: MouseEvent) => unknown} pressed
 * @param {string} [className]
 */
export function button(label, pressed, className = "quiet") {
  const element = create("button", { type: "button", className, textContent: label });
  element.addEventListener("click", pressed);
  return element;
}

/**
 * Return a label with the field that it names.
 *
 * @param {string} text
 * @param {HTMLElement} field
 */
export function labelled(text, field) {
  return create("label", { className: "field" }, create("span", { textContent: text }), field);
}

/**
 * Return a label with a box that can be checked, and what checking means.
 *
 * @param {string} text
 * @param {HTMLInputElement} box
 * @param {string} [explanation]
 */
export function checkable(text, box, explanation) {
  const words = create("span", {}, text);
  if (explanation !== undefined) words.append(create("small", { textContent: explanation }));
  return create("label", { className: "check" }, box, words);
}

/** @param {Partial<HTMLInputElement>} [properties] */
export function checkbox(properties = {}) {
  return create("input", { type: "checkbox", ...properties });
}

/**
 * Return a field with a choice of numbers.
 *
 * @param {readonly number[]} numbers
 * @param {(number: number) => string} describe
 * @param {number} [chosen] added where it is none of the numbers
 */
export function choice(numbers, describe, chosen) {
  const all = chosen === undefined || numbers.includes(chosen) ? numbers : [...numbers, chosen].sort((a, b) => a - b);
  const options = all.map((number) => create("option", { value: `${number}`, textContent: describe(number) }));
  const field = create("select", {}, ...options);
  if (chosen !== undefined) field.value = `${chosen}`;
  return field;
}

/** Return an element for what went wrong; `showError` fills it. */
export function problemElement() {
  const element = create("p", { className: "problem", hidden: true });
  element.setAttribute("role", "alert");
  return element;
}
