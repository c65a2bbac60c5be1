// The ceremonies of WebAuthn in the browser: a new key, and the proof of a known one.

import { textsFor } from "./texts.js";

const TIMEOUT = 15_000; // ms

/** Return whether this browser can use passkeys on this page. */
export function hasPasskeys() {
  return isSecureContext && "PublicKeyCredential" in globalThis;
}

/**
 * Throw `Problem` where this page is not at the address to which the passkeys of the server belong.
 *
 * @param {Page.Host} host
 */
export async function checkPlace(host) {
  const texts = textsFor(host);
  if (!hasPasskeys()) throw new host.Problem(texts.noPasskeys);
  const response = await fetch(new URL("page.json", import.meta.url), { signal: AbortSignal.timeout(TIMEOUT) });
  if (!response.ok) throw new host.Problem(texts.unreachable);
  const { origin } = /** @type {Passkey.Configuration} */ (await response.json());
  if (origin !== location.origin) throw new host.Problem(texts.elsewhere(origin));
}

/**
 * Make a new key on this device, and return the sign-in by it. Throws `Problem`, and what `host.ask` throws.
 *
 * @param {Page.Host} host
 * @param {{ purpose: "sign_up" | "add_device", displayName?: string }} request
 * @param {{ deviceName?: string }} [fields] of the credential
 */
export async function newKey(host, request, fields = { deviceName: deviceName() }) {
  const { challengeId, publicKey } = await ask(host, request);
  const created = await confirmed(host, () =>
    navigator.credentials.create({
      publicKey: /** @type {PublicKeyCredentialCreationOptions} */ ({
        ...publicKey,
        challenge: bytes(publicKey.challenge),
        user: { ...publicKey.user, id: bytes(publicKey.user.id) },
        excludeCredentials: descriptors(publicKey.excludeCredentials),
      }),
      signal: host.signal,
    }),
  );
  const { clientDataJSON, attestationObject } = /** @type {AuthenticatorAttestationResponse} */ (created.response);
  const response = { clientDataJSON: text(clientDataJSON), attestationObject: text(attestationObject) };
  const passkey = { id: created.id, response };
  return host.ask("POST", "/session", { provider: "passkey", challengeId, passkey, ...fields });
}

/**
 * Let the user prove a key of an account, and return the sign-in by it. Throws `Problem`, and what `host.ask` throws.
 *
 * @param {Page.Host} host
 */
export async function assertion(host) {
  await checkPlace(host);
  const { challengeId, publicKey } = await ask(host, { purpose: "sign_in" });
  const proved = await confirmed(host, () =>
    navigator.credentials.get({
      publicKey: /** @type {PublicKeyCredentialRequestOptions} */ ({
        ...publicKey,
        challenge: bytes(publicKey.challenge),
        allowCredentials: descriptors(publicKey.allowCredentials),
      }),
      signal: host.signal,
    }),
  );
  const given = /** @type {AuthenticatorAssertionResponse} */ (proved.response);
  const response = {
    clientDataJSON: text(given.clientDataJSON),
    authenticatorData: text(given.authenticatorData),
    signature: text(given.signature),
    userHandle: given.userHandle === null ? null : text(given.userHandle),
  };
  const passkey = { id: proved.id, response };
  return host.ask("POST", "/session", { provider: "passkey", challengeId, passkey });
}

/**
 * @param {Page.Host} host
 * @param {object} request
 */
async function ask(host, request) {
  const answered = await host.ask("POST", "/challenge", { provider: "passkey", ...request });
  // The server answers with a challenge of the provider of the request.
  return /** @type {Passkey.Challenge} */ (/** @type {unknown} */ (answered));
}

/**
 * Return the credential that the user confirms. Throws `Problem` where there is none.
 *
 * @param {Page.Host} host
 * @param {() => Promise<Credential | null>} work
 */
async function confirmed(host, work) {
  const texts = textsFor(host);
  try {
    const credential = await work();
    if (credential !== null) return /** @type {PublicKeyCredential} */ (credential);
  } catch (error) {
    if (!(error instanceof DOMException)) throw error;
    if (error.name === "InvalidStateError") throw new host.Problem(texts.hasOne);
    if (error.name === "NotSupportedError") throw new host.Problem(texts.unsupported);
    if (error.name === "SecurityError") throw new host.Problem(texts.wrongPlace);
  }
  throw new host.Problem(texts.notUsed);
}

/** Return a name for a passkey on this device. */
export function deviceName() {
  const { userAgentData, platform } = /** @type {Passkey.Navigator} */ (/** @type {unknown} */ (navigator));
  return (userAgentData?.platform || platform || "Passkey").slice(0, 64);
}

/** @param {Passkey.Descriptor[] | undefined} known */
function descriptors(known) {
  return (known ?? []).map((one) => ({ ...one, id: bytes(one.id) }));
}

/** @param {string} base64url */
function bytes(base64url) {
  const binary = atob(base64url.replaceAll("-", "+").replaceAll("_", "/"));
  return Uint8Array.from(binary, (character) => character.charCodeAt(0));
}

/** @param {ArrayBuffer} buffer */
function text(buffer) {
  return btoa(String.fromCharCode(...new Uint8Array(buffer)))
    .replaceAll("+", "-")
    .replaceAll("/", "_")
    .replaceAll("=", "");
}
