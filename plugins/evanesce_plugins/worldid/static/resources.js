// What the plugin's modules load from the server: the configuration, the library IDKit, the style sheet, QR codes.

import { element } from "./elements.js";

const TIMEOUT = 15_000; // ms

/** The resources that are loaded once for the page. */
export class Resources {
  /** @type {Promise<WorldId.Config> | null} */
  #configuration = null;
  /** @type {Promise<IDKit.Library> | null} */
  #library = null;
  /** @type {HTMLLinkElement | null} */
  #style = null;

  /** Return the configuration. */
  configuration() {
    this.#configuration ??= loadConfiguration().catch((error) => {
      this.#configuration = null;
      throw error;
    });
    return this.#configuration;
  }

  /**
   * Return the library IDKit. Throws `Problem`.
   *
   * @param {string} address
   * @param {Page.Host["Problem"]} Problem
   */
  library(address, Problem) {
    this.#library ??= loadLibrary(address, Problem).catch((error) => {
      this.#library = null;
      throw error;
    });
    return this.#library;
  }

  /** Add the style sheet to the page. */
  addStyle() {
    if (this.#style !== null) return;
    this.#style = element("link", { rel: "stylesheet", href: new URL("worldid.css", import.meta.url).href });
    document.head.append(this.#style);
  }
}

/**
 * Return whether the server has IDKit for this page.
 *
 * @param {WorldId.Config} config
 * @returns {config is WorldId.ReadyConfig}
 */
export function isReady(config) {
  return config.idkit !== undefined;
}

/**
 * Show `text` as a QR code in `place`, or an error where the server does not draw it.
 *
 * @param {HTMLElement} place
 * @param {string} text
 */
export async function showQrCode(place, text) {
  try {
    const response = await fetch(new URL("qr", import.meta.url), {
      method: "POST",
      body: text,
      headers: { "Content-Type": "text/plain" },
      signal: AbortSignal.timeout(TIMEOUT),
    });
    if (!response.ok) throw new Error(`HTTP ${response.status}`);
    const svg = new DOMParser().parseFromString(await response.text(), "image/svg+xml");
    place.replaceChildren(document.importNode(svg.documentElement, true));
  } catch (error) {
    console.warn("The QR code cannot be loaded:", error);
    place.textContent = "The QR code cannot be shown at the moment.";
  }
}

/** @returns {Promise<WorldId.Config>} */
async function loadConfiguration() {
  const response = await fetch(new URL("page.json", import.meta.url), { signal: AbortSignal.timeout(TIMEOUT) });
  if (!response.ok) throw new Error(`HTTP ${response.status}`);
  return response.json();
}

/**
 * @param {string} address
 * @param {Page.Host["Problem"]} Problem
 * @returns {Promise<IDKit.Library>}
 */
function loadLibrary(address, Problem) {
  return new Promise((resolve, reject) => {
    const script = element("script", { src: address });
    script.onload = script.onerror = () => {
      if (globalThis.IDKit) {
        resolve(globalThis.IDKit);
        return;
      }
      script.remove();
      reject(new Problem("World’s library cannot be loaded. Check your connection and try again."));
    };
    document.head.append(script);
  });
}
