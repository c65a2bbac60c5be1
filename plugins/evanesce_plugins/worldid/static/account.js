// What the account dialog has of World ID: what is left to do, and the account code for other devices.

import { button, drawQr, element, problem } from "./elements.js";
import { finished } from "./memory.js";
import { attempt, finish } from "./prove.js";
import { View } from "./view.js";

export function drawAccount(place, host, config) {
  const { userId } = host.account();
  place.replaceChildren(element("h3", {}, "World ID"));
  if (!finished(userId) && config.idkit !== undefined) place.append(...unfinished(place, host, config));
  const code = element("code", {}, userId);
  const hint = "With it and World App you can sign in on other devices, and here again. It is no secret: without your World ID it opens nothing.";
  place.append(
    element("p", { className: "worldid-hint" }, "Account code"),
    element("div", { className: "worldid-code" }, code, button("Copy", (event) => copy(code, event.currentTarget), "quiet")),
    element("p", { className: "worldid-hint" }, hint),
    otherDevice(`${config.publicUrl}/#account=${userId}`),
  );
}

function unfinished(place, host, config) {
  const trouble = problem();
  const waiting = element("div");
  const start = button("Finish setting up World ID", () =>
    attempt(host, start, trouble, async () => {
      start.hidden = true;
      const view = new View(waiting, host.signal);
      try {
        await finish(host, config, view);
        drawAccount(place, host, config);
      } finally {
        view.remove();
        start.hidden = false;
      }
    }),
  );
  const text = "One confirmation in World App is left. Without it you cannot sign in again once you are signed out.";
  return [element("p", {}, text), start, waiting, trouble];
}

function otherDevice(link) {
  const qr = element("div", { className: "worldid-qr", role: "img", "aria-label": "QR code with the account code" });
  const text = element("p", { className: "worldid-hint" }, "Scan this with the other device: it opens this place, with your account code filled in.");
  const details = element("details", {}, element("summary", {}, "Sign in on another device"), text, qr);
  details.addEventListener("toggle", () => drawQr(qr, link), { once: true });
  return details;
}

async function copy(code, pressed) {
  try {
    await navigator.clipboard.writeText(code.textContent);
  } catch {
    getSelection().selectAllChildren(code); // no secure page, or not allowed: then it is copied by hand
    return;
  }
  pressed.textContent = "Copied";
  setTimeout(() => (pressed.textContent = "Copy"), 2_000);
}
