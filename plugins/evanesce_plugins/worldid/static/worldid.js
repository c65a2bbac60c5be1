// Signing in with World ID on the page: the module that the page imports. See docs/plugins.md for what it is given.

import { drawAccount } from "./account.js";
import { element, style } from "./elements.js";
import { finished, forget } from "./memory.js";
import { Ways } from "./ways.js";

let loading = null;

/** Give what the server tells this module: {publicUrl, legacyProofs, idkit, bridgeUrl, connectUrl}. */
function configuration() {
  loading ??= load().catch((error) => {
    loading = null;
    throw error;
  });
  return loading;
}

async function load() {
  const response = await fetch(new URL("page.json", import.meta.url), { signal: AbortSignal.timeout(15_000) });
  if (!response.ok) throw new Error(`HTTP ${response.status}`);
  return response.json();
}

async function unfinished(host) {
  return !finished(host.account().userId) && (await configuration()).idkit !== undefined;
}

export default {
  async signIn(place, host) {
    style();
    const config = await configuration();
    if (config.idkit !== undefined) {
      new Ways(place, host, config);
      return;
    }
    const text = "Signing in with World ID is not set up for this page. Other clients of this server can do it all the same.";
    place.append(element("p", {}, text));
  },

  async account(place, host) {
    style();
    drawAccount(place, host, await configuration());
  },

  async reminder(host) {
    return (await unfinished(host)) ? "Setting up World ID is not finished: without it you cannot sign in again." : null;
  },

  async leaving(host) {
    return (await unfinished(host))
      ? "Setting up World ID is not finished. Signed out, you could not sign in again, and World lets nobody sign up twice within a year."
      : null;
  },

  forgetting: () =>
    "World shows only once a year that you are one human at this place: if you are forgotten now, you may not be able to come back before that.",

  forgotten: forget,
};
