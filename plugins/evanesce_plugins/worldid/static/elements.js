// Functions that create elements in one expression. Text is set as text, never as markup.

/**
 * The properties and attributes of a new element.
 *
 * @template {keyof HTMLElementTagNameMap} Name
 * @typedef {Omit<Partial<HTMLElementTagNameMap[Name]>, "autocomplete"> & {
 *   autocomplete?: string,
 *   [attribute: `aria-${string}`]: string,
 * }} Properties
 */

/**
 * Return a new element with `properties` and `children`. Names with a hyphen, and `role`, are attributes.
 *
 * @template {keyof HTMLElementTagNameMap} Name
 * @param {Name} name
 * @param {Properties<Name>} properties
 * @param {(Node | string)[]} children
 */
export function element(name, properties = /** @type {Properties<Name>} */ ({}), ...children) {
  const created = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (key.includes("-") || key === "role") created.setAttribute(key, String(value));
    else Object.assign(created, { [key]: value });
  }
  created.append(...children);
  return created;
}

/**
 * Return the label and the input of a new field.
 *
 * @param {string} label
 * @param {Properties<"input"> & { id: string }} properties
 * @returns {[HTMLLabelElement, HTMLInputElement]}
 */
export function field(label, properties) {
  return [element("label", { htmlFor: properties.id }, label), element("input", properties)];
}

/**
 * Return a new button that calls `pressed` with itself.
 *
 * @param {string} label
 * @param {(button: HTMLButtonElement) => void} pressed
 */
export function button(label, pressed, className = "") {
  const created = element("button", { type: "button", className }, label);
  created.addEventListener("click", () => pressed(created));
  return created;
}

/**
 * Return a new paragraph with a hint.
 *
 * @param {string} text
 */
export function hint(text) {
  return element("p", { className: "worldid-hint" }, text);
}

/** Return a new element in which `host.attempt` shows an error. */
export function problem() {
  return element("p", { className: "problem", role: "alert", hidden: true });
}
