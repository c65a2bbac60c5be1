// The registration of the service worker, which makes the page installable and answers without a network.

import { basePath } from "./addresses.js";

const POLICY = "evanesce"; // of Trusted Types, which the server's Content-Security-Policy names

/** Register the service worker when the page has loaded, so that it takes nothing from the first visit. */
export function registerServiceWorker() {
  if (!("serviceWorker" in navigator)) return; // the page is not from a secure origin
  if (document.readyState === "complete") register();
  else addEventListener("load", register, { once: true });
}

async function register() {
  const address = `${basePath()}/service-worker.js`;
  const policy = globalThis.trustedTypes?.createPolicy(POLICY, { createScriptURL: () => address });
  const url = /** @type {string} */ (policy?.createScriptURL("") ?? address);
  try {
    await navigator.serviceWorker.register(url, { updateViaCache: "none" });
  } catch {
    // The browser does not allow it, or there is no network: the page works without.
  }
}
