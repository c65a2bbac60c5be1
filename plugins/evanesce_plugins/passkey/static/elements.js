// Functions that create elements in one expression. Text is set as text, never as markup.

/**
 * The properties of a new element.
 *
 * @template {keyof HTMLElementTagNameMap} Name
 * @typedef {Omit<Partial<HTMLElementTagNameMap[Name]>, "autocomplete"> & { autocomplete?: string }} Properties
 */

/**
 * Return a new element with `properties` and `children`.
 *
 * @template {keyof HTMLElementTagNameMap} Name
 * @param {Name} name
 * @param {Properties<Name>} properties
 * @param {(Node | string)[]} children
 * @returns {HTMLElementTagNameMap[Name]}
 */
export function element(name, properties = /** @type {Properties<Name>} */ ({}), ...children) {
  const created = document.createElement(name);
  Object.assign(created, properties);
  created.append(...children);
  return created;
}

/**
 * Return the label of a new field, which contains the input, and the input.
 *
 * @param {string} label
 * @param {Properties<"input">} properties
 * @returns {[HTMLLabelElement, HTMLInputElement]}
 */
export function field(label, properties) {
  const input = element("input", properties);
  return [element("label", {}, label, input), input];
}

/**
 * Return a new button that calls `pressed`.
 *
 * @param {string} label
 * @param {() => void} pressed
 */
export function button(label, pressed, className = "") {
  const created = element("button", { type: "button", className }, label);
  created.addEventListener("click", pressed);
  return created;
}

/**
 * Return a new form that calls `submitted`.
 *
 * @param {HTMLElement[]} children
 * @param {() => void} submitted
 */
export function form(children, submitted) {
  const created = element("form", { autocomplete: "off" }, ...children);
  created.addEventListener("submit", (event) => {
    event.preventDefault();
    submitted();
  });
  return created;
}

/**
 * Return a new element that shows `content` when the user opens it.
 *
 * @param {string} label
 * @param {HTMLElement} content
 */
export function disclosure(label, content) {
  return element("details", {}, element("summary", {}, label), content);
}

/** Return a new element in which `host.attempt` shows an error. */
export function problem() {
  const created = element("p", { className: "problem", hidden: true });
  created.setAttribute("role", "alert");
  return created;
}
