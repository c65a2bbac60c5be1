// Signing in with passkeys on the page: the module that the page imports. See docs/reference/sign-in-modules.md for what
// it is given.

import { AccountSection, devicesOf } from "./account-section.js";
import { assertion, checkPlace, hasPasskeys, newKey } from "./ceremonies.js";
import { button, disclosure, element, field, form, problem } from "./elements.js";
import { textsFor } from "./texts.js";

/** @type {Page.SignInModule["signIn"]} */
async function signIn(place, host) {
  const error = problem();
  const texts = textsFor(host);
  if (hasPasskeys()) {
    const known = button(texts.signIn, () =>
      host.attempt(known, error, async () => host.signedIn(await assertion(host))),
    );
    const [label, name] = field(texts.name, {
      value: host.name ?? "",
      required: true,
      maxLength: 64,
      dir: "auto",
      autocomplete: "nickname",
      enterKeyHint: "go",
    });
    const create = element("button", {}, texts.create);
    const created = form([label, create], () => host.attempt(create, error, () => signUp(host, name.value)));
    place.append(known, disclosure(texts.isNew, created));
  } else {
    place.append(element("p", {}, texts.noPasskeys));
  }
  const [label, code] = field(texts.code, {
    required: true,
    maxLength: 128,
    spellcheck: false,
    autocomplete: "off",
    autocapitalize: "characters",
    enterKeyHint: "go",
  });
  const enter = element("button", { className: "quiet" }, texts.recover);
  const recovered = form([label, enter], () => host.attempt(enter, error, () => recover(host, code.value)));
  place.append(disclosure(texts.lost, recovered), error);
}

/**
 * Create an account with a new key of this device. Throws `Problem`, and what `host.ask` throws.
 *
 * @param {Page.Host} host
 * @param {string} displayName
 */
async function signUp(host, displayName) {
  await checkPlace(host);
  host.signedIn(await newKey(host, { purpose: "sign_up", displayName }));
}

/**
 * Sign in with a recovery code. Throws what `host.ask` throws.
 *
 * @param {Page.Host} host
 * @param {string} recoveryCode
 */
async function recover(host, recoveryCode) {
  host.signedIn(await host.ask("POST", "/session", { provider: "passkey", recoveryCode }));
}

/** @type {Required<Page.SignInModule>["account"]} */
async function account(place, host) {
  await new AccountSection(place, host).draw();
}

/** @type {Required<Page.SignInModule>["reminder"]} */
async function reminder(host) {
  const { devices, recoveryCodesLeft } = await devicesOf(host);
  if (devices.length === 0) return textsFor(host).remindNone;
  if (devices.length > 1 || recoveryCodesLeft > 0) return null;
  return textsFor(host).remindOne;
}

/** @type {Required<Page.SignInModule>["forgetting"]} */
function forgetting(host) {
  return textsFor(host).forgetting;
}

export default { signIn, account, reminder, forgetting };
