// What the plugin's modules load from the server: the configuration, the library IDKit, the style sheet, QR codes.

import { element } from "./elements.js";
import { textsFor } from "./texts.js";

const TIMEOUT = 15_000; // ms

/** The resources that are loaded once for the page. */
export class Resources {
  /** @type {Promise<WorldId.Config> | null} */
  #configuration = null;
  /** @type {Promise<IDKit.Library> | null} */
  #library = null;
  /** @type {HTMLLinkElement | null} */
  #style = null;
  /** @type {TrustedTypePolicy | undefined} */
  #policy;

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
   * @param {Pick<Page.Host, "Problem" | "language">} host
   */
  library(address, host) {
    this.#library ??= loadLibrary(this.#trusted(address), host).catch((error) => {
      this.#library = null;
      throw error;
    });
    return this.#library;
  }

  /**
   * Return the address as a script that the page may load, where the browser has Trusted Types. The page allows the policy
   * only where the server has the library.
   *
   * @param {string} address
   */
  #trusted(address) {
    this.#policy ??= globalThis.trustedTypes?.createPolicy("evanesce-worldid", { createScriptURL: (given) => given });
    return this.#policy?.createScriptURL(address) ?? address;
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
 * @param {Pick<Page.Host, "language">} host
 */
export async function showQrCode(place, text, host) {
  try {
    const svg = await requestDrawing(text);
    place.replaceChildren(document.importNode(svg.documentElement, true));
  } catch (error) {
    console.warn("The QR code cannot be loaded:", error);
    place.textContent = textsFor(host).noQr;
  }
}

/**
 * Return the drawing of a QR code. It is parsed by the request: the page lets no script parse text as a document.
 *
 * @param {string} text
 * @returns {Promise<Document>}
 */
function requestDrawing(text) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("POST", new URL("../qr", import.meta.url));
    request.setRequestHeader("Content-Type", "text/plain");
    request.responseType = "document";
    request.timeout = TIMEOUT;
    request.onloadend = () => {
      if (request.status === 200 && request.responseXML !== null) resolve(request.responseXML);
      else reject(new Error(`HTTP ${request.status}`));
    };
    request.send(text);
  });
}

/** @returns {Promise<WorldId.Config>} */
async function loadConfiguration() {
  const response = await fetch(new URL("../page.json", import.meta.url), { signal: AbortSignal.timeout(TIMEOUT) });
  if (!response.ok) throw new Error(`HTTP ${response.status}`);
  return response.json();
}

/**
 * @param {string | TrustedScriptURL} address
 * @param {Pick<Page.Host, "Problem" | "language">} host
 * @returns {Promise<IDKit.Library>}
 */
function loadLibrary(address, host) {
  return new Promise((resolve, reject) => {
    const script = element("script");
    Object.assign(script, { src: address });
    script.onload = script.onerror = () => {
      if (globalThis.IDKit) {
        resolve(globalThis.IDKit);
        return;
      }
      script.remove();
      reject(new host.Problem(textsFor(host).noLibrary));
    };
    document.head.append(script);
  });
}
