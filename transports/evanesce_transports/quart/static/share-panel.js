// A way to share the open room: its link as a QR code, for the clipboard, and for the share menu of the device.

import { t } from "./i18n.js";

const COPIED_FOR = 2_000; // ms for which the button says that the link is copied
const BORDER = 4; // modules around the code, as the standard wants
const SVG = "http://www.w3.org/2000/svg";

/** @typedef {{ size: number, get(x: number, y: number): boolean }} Code */

export class SharePanel {
  #elements;
  #address = "";

  /**
   * @param {import("./elements.js").SharePanelElements} elements
   * @param {() => void} refused called where the browser does not allow the page to copy
   */
  constructor(elements, refused) {
    this.#elements = elements;
    const { copy, send } = elements;
    copy.addEventListener("click", async () => {
      try {
        await navigator.clipboard.writeText(this.#address);
      } catch {
        refused(); // the page is not from a secure origin, or the user has not allowed it
        return;
      }
      copy.textContent = t("share.copied");
      setTimeout(() => (copy.textContent = t("share.copy")), COPIED_FOR);
    });
    send.hidden = typeof navigator.share !== "function";
    send.addEventListener("click", () => {
      navigator.share({ url: this.#address }).catch(() => {}); // the user has closed the menu
    });
  }

  /**
   * Share this link. The code is drawn when its library is there; without it, the buttons remain.
   *
   * @param {string} address with its fragment: it never leaves the browser
   */
  async show(address) {
    const { code, onlyHere } = this.#elements;
    if (address === this.#address) return;
    this.#address = address;
    onlyHere.hidden = !isLoopback(new URL(address).hostname);
    code.replaceChildren();
    /** @type {{ generate: any } | null} */
    const library = await import("./vendor/lean-qr.js").catch(() => null);
    if (library === null || address !== this.#address) return;
    code.replaceChildren(drawCode(library.generate(address)));
    code.hidden = false;
  }
}

/**
 * Return a QR code as a drawing.
 *
 * @param {Code} code
 */
function drawCode({ size, get }) {
  let path = "";
  for (let y = 0; y < size; y++) for (let x = 0; x < size; x++) if (get(x, y)) path += `M${x} ${y}h1v1h-1z`;
  const drawing = document.createElementNS(SVG, "svg");
  const all = size + 2 * BORDER;
  drawing.setAttribute("viewBox", `${-BORDER} ${-BORDER} ${all} ${all}`);
  const modules = document.createElementNS(SVG, "path");
  modules.setAttribute("d", path);
  drawing.append(modules);
  return drawing;
}

/**
 * Return whether a host is the device itself, whichever that is.
 *
 * @param {string} host
 */
function isLoopback(host) {
  return host === "localhost" || host.endsWith(".localhost") || host.startsWith("127.") || host === "[::1]";
}
