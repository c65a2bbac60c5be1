// Signing in with passkeys on the page: the module that the page imports. See docs/reference/sign-in-modules.md for what
// it is given.

import { AccountSection, devicesOf } from "./account-section.js";
import { assertion, checkPlace, hasPasskeys, newKey } from "./ceremonies.js";
import { button, disclosure, element, field, form, problem } from "./elements.js";

/** @type {Page.SignInModule["signIn"]} */
async function signIn(place, host) {
  const error = problem();
  if (hasPasskeys()) {
    const known = button("Sign in with a passkey", () =>
      host.attempt(known, error, async () => host.signedIn(await assertion(host))),
    );
    const [label, name] = field("Your name", {
      required: true,
      maxLength: 64,
      dir: "auto",
      autocomplete: "nickname",
      enterKeyHint: "go",
    });
    const create = element("button", {}, "Create an account with a passkey");
    const created = form([label, create], () => host.attempt(create, error, () => signUp(host, name.value)));
    place.append(known, disclosure("New here?", created));
  } else {
    place.append(element("p", {}, "This browser cannot use passkeys on this page. Another browser may be able to."));
  }
  const [label, code] = field("Recovery code", {
    required: true,
    maxLength: 128,
    spellcheck: false,
    autocomplete: "off",
    autocapitalize: "characters",
    enterKeyHint: "go",
  });
  const enter = element("button", { className: "quiet" }, "Sign in with a recovery code");
  const recovered = form([label, enter], () => host.attempt(enter, error, () => recover(host, code.value)));
  place.append(disclosure("Lost your devices?", recovered), error);
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
  if (devices.length === 0) return "Your account has no passkey. Add this device while you are signed in.";
  if (devices.length > 1 || recoveryCodesLeft > 0) return null;
  return "If you lose your only passkey, you lose your account. Add another device, or make recovery codes.";
}

/** @type {Required<Page.SignInModule>["forgetting"]} */
function forgetting() {
  return "Your devices keep their passkeys until you delete them there. They are of no use afterwards.";
}

export default { signIn, account, reminder, forgetting };
