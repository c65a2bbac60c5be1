// Signing in with World ID on the page: the module that the page imports. See docs/reference/sign-in-modules.md for what it is given.

import { AccountMemory } from "./account-memory.js";
import { AccountSection } from "./account-section.js";
import { element } from "./elements.js";
import { isReady, Resources } from "./resources.js";
import { SignInForms } from "./sign-in-forms.js";

/**
 * Return a sign-in module, with its own state.
 *
 * @returns {Page.SignInModule}
 */
function createModule() {
  const resources = new Resources();
  const memory = new AccountMemory();

  /** @param {Page.Host} host */
  async function isUnfinished(host) {
    return isReady(await resources.configuration()) && (await memory.currentCode(host)) === undefined;
  }

  return {
    async signIn(place, host) {
      resources.addStyle();
      const config = await resources.configuration();
      if (isReady(config)) {
        new SignInForms(place, host, config, resources, memory);
        return;
      }
      const text =
        "Signing in with World ID is not set up for this page. Other clients of this server can still use it.";
      place.append(element("p", {}, text));
    },

    async account(place, host) {
      resources.addStyle();
      await new AccountSection(place, host, await resources.configuration(), resources, memory).draw();
    },

    async reminder(host) {
      return (await isUnfinished(host))
        ? "The setup of World ID is not finished. Without it you cannot sign in again with a newer World App."
        : null;
    },

    async leaving(host) {
      return (await isUnfinished(host))
        ? "The setup of World ID is not finished. After you sign out, you cannot sign in again with a newer World App."
        : null;
    },

    forgetting: () =>
      "World proves only once a year to this server that you are a unique human. After you delete your account, you may have to wait that long to create another.",

    forgotten: () => memory.clear(),
  };
}

export default createModule();
