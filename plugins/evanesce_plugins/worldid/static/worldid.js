// Signing in with World ID on the page: the module that the page imports. See docs/reference/sign-in-modules.md for what it is given.

import { AccountMemory } from "./account-memory.js";
import { AccountSection } from "./account-section.js";
import { element } from "./elements.js";
import { isReady, Resources } from "./resources.js";
import { SignInForms } from "./sign-in-forms.js";
import { textsFor } from "./texts.js";

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
      place.append(element("p", {}, textsFor(host).notSetUp));
    },

    async account(place, host) {
      resources.addStyle();
      await new AccountSection(place, host, await resources.configuration(), resources, memory).draw();
    },

    async reminder(host) {
      return (await isUnfinished(host)) ? textsFor(host).unfinishedReminder : null;
    },

    async leaving(host) {
      return (await isUnfinished(host)) ? textsFor(host).unfinishedLeaving : null;
    },

    forgetting: (host) => textsFor(host).forgetting,

    forgotten: () => memory.clear(),
  };
}

export default createModule();
