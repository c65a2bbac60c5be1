// The entry point of the page, which index.html loads. No other module of the page does anything when it is imported.

import { App } from "./app.js";
import { findElements, translate } from "./elements.js";
import { FocusKeeper } from "./focus.js";
import { chooseLanguage, loadTexts, setLanguage } from "./i18n.js";
import { followKeyboard } from "./viewport.js";
import { registerServiceWorker } from "./service-worker-registration.js";

async function start() {
  const language = chooseLanguage(navigator.languages);
  setLanguage(language, await loadTexts(language));
  translate(language);
  const elements = findElements();
  new FocusKeeper(elements.focus);
  followKeyboard(document.body, visualViewport);
  new App(elements).start();
  registerServiceWorker();
}

start();
