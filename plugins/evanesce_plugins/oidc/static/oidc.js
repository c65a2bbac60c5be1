// Signing in with OpenID Connect on the page: the module that the page imports. See docs/reference/sign-in-modules.md for
// what it is given.

import { keep, take } from "./pending.js";
import { textsFor } from "./texts.js";

const TIMEOUT = 15_000; // ms

/** @type {Page.SignInModule["signIn"]} */
async function signIn(place, host) {
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = textsFor(host.language).at(await issuerName());
  const problem = document.createElement("p");
  problem.className = "problem";
  problem.setAttribute("role", "alert");
  problem.hidden = true;
  button.addEventListener("click", () => host.attempt(button, problem, () => goToIssuer(host)));
  place.append(button, problem);
  const pending = take();
  if (pending === null) return;
  const { answer } = pending;
  if (answer === undefined) {
    keep(pending); // the user came back by the button of the browser, and may go forward again
    return;
  }
  host.attempt(button, problem, () => finish(host, pending, answer));
}

/** Return the name of the issuer's host, for the user. */
async function issuerName() {
  const response = await fetch(new URL("../page.json", import.meta.url), { signal: AbortSignal.timeout(TIMEOUT) });
  if (!response.ok) throw new Error(`HTTP ${response.status}`);
  const { issuer } = /** @type {Oidc.Configuration} */ (await response.json());
  return new URL(issuer).host;
}

/**
 * Request a challenge, and leave the page for the issuer's. Throws `Problem`, and what `host.ask` throws.
 *
 * @param {Page.Host} host
 */
async function goToIssuer(host) {
  const texts = textsFor(host.language);
  if (!isSecureContext) throw new host.Problem(texts.insecure);
  const answered = await host.ask("POST", "/challenge", { provider: "oidc" });
  // The server answers with a challenge of the provider of the request.
  const challenge = /** @type {Oidc.Challenge} */ (/** @type {unknown} */ (answered));
  const { origin } = new URL(challenge.redirectUri);
  if (origin !== location.origin) throw new host.Problem(texts.elsewhere(origin));
  const state = randomText();
  const verifier = randomText();
  const { challengeId, expiresAt } = challenge;
  keep({ state, verifier, challengeId, expiresAt, returnTo: host.address() });
  const address = new URL(challenge.authorizationEndpoint);
  const parameters = {
    response_type: "code",
    client_id: challenge.clientId,
    redirect_uri: challenge.redirectUri,
    scope: challenge.scope,
    nonce: challenge.nonce,
    state,
    code_challenge: await digest(verifier),
    code_challenge_method: "S256",
  };
  for (const [name, value] of Object.entries(parameters)) address.searchParams.set(name, value);
  location.assign(address);
}

/**
 * Sign in with what the issuer has answered. Throws `Problem`, and what `host.ask` throws.
 *
 * @param {Page.Host} host
 * @param {Oidc.Pending} pending
 * @param {Oidc.Answer} answer
 */
async function finish(host, pending, answer) {
  const texts = textsFor(host.language);
  if (answer.code === null) throw new host.Problem(texts.refused(answer.reason ?? texts.noReason));
  const { challengeId, verifier } = pending;
  const credential = { provider: "oidc", challengeId, code: answer.code, codeVerifier: verifier };
  host.signedIn(await host.ask("POST", "/session", credential));
}

/** Return 256 random bits as 43 characters of base64url. */
function randomText() {
  return base64url(crypto.getRandomValues(new Uint8Array(32)));
}

/**
 * Return the challenge of PKCE for a verifier (RFC 7636, section 4.2).
 *
 * @param {string} verifier
 */
async function digest(verifier) {
  return base64url(new Uint8Array(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(verifier))));
}

/** @param {Uint8Array} bytes */
function base64url(bytes) {
  return btoa(String.fromCharCode(...bytes))
    .replaceAll("+", "-")
    .replaceAll("/", "_")
    .replaceAll("=", "");
}

export default { signIn };
