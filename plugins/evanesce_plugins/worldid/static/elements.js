// Elements of the page, made in one expression. What people write goes in as text alone.

/** Make an element with `properties` and `children`; names with a dash, and `role`, are attributes. */
export function element(name, properties = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (key.includes("-") || key === "role") made.setAttribute(key, value);
    else made[key] = value;
  }
  made.append(...children);
  return made;
}

/** Make a labelled field; the label is a block above it. */
export function field(label, properties) {
  return [element("label", { htmlFor: properties.id }, label), element("input", properties)];
}

export function button(label, pressed, className = "") {
  const made = element("button", { type: "button", className }, label);
  made.addEventListener("click", pressed);
  return made;
}

/** A place for what went wrong, as `attempt` of the page fills it. */
export function problem() {
  return element("p", { className: "problem", role: "alert", hidden: true });
}

/** Load the style sheet, once. */
export function style() {
  const address = new URL("worldid.css", import.meta.url).href;
  const known = [...document.head.querySelectorAll("link")].some((link) => link.href === address);
  if (!known) document.head.append(element("link", { rel: "stylesheet", href: address }));
}

/** Draw `text` as a QR code into `place`, or say that it cannot be drawn. */
export async function drawQr(place, text) {
  try {
    const response = await fetch(new URL("qr", import.meta.url), {
      method: "POST",
      body: text,
      headers: { "Content-Type": "text/plain" },
      signal: AbortSignal.timeout(15_000),
    });
    if (!response.ok) throw new Error(`HTTP ${response.status}`);
    const drawing = new DOMParser().parseFromString(await response.text(), "image/svg+xml");
    place.replaceChildren(document.importNode(drawing.documentElement, true));
  } catch (error) {
    console.warn("A QR code cannot be drawn:", error);
    place.textContent = "The QR code cannot be drawn at the moment.";
  }
}
