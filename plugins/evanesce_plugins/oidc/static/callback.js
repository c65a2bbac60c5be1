// The page to which the issuer sends the browser back. It keeps the answer, and returns to where the sign-in began.

import { keep, take } from "./pending.js";
import { chooseLanguage, textsFor } from "./texts.js";

const MAX_REASON = 200; // characters

/** Return to the sign-in of this tab that the issuer answers; say so where there is none. */
function comeBack() {
  const parameters = new URLSearchParams(location.search);
  const pending = take();
  if (pending === null || parameters.get("state") !== pending.state) {
    showStranger();
    return;
  }
  keep({ ...pending, answer: { code: parameters.get("code"), reason: reasonIn(parameters) } });
  location.replace(pending.returnTo);
}

/** Say that this tab did not start the sign-in. */
function showStranger() {
  const language = chooseLanguage(navigator.languages);
  const texts = textsFor(language);
  document.documentElement.lang = language;
  document.body.dir = "auto";
  const text = document.createElement("p");
  text.setAttribute("role", "alert");
  text.textContent = texts.stranger;
  const link = document.createElement("a");
  link.href = "../";
  link.textContent = texts.again;
  document.body.append(text, link);
}

/**
 * Return why the issuer did not sign in the user, as a text of bounded length; null where it gave no reason.
 *
 * @param {URLSearchParams} parameters
 */
function reasonIn(parameters) {
  const given = parameters.get("error_description") ?? parameters.get("error");
  return given?.slice(0, MAX_REASON) ?? null;
}

comeBack();
