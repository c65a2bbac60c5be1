// Requests to World App through IDKit: making them, and waiting for the user's confirmation.

import { Failure } from "./failures.js";

/** @typedef {import("./confirmation-view.js").ConfirmationView} ConfirmationView */

const TIMEOUT = 10 * 60_000; // ms, whatever the server allows
const POLL_INTERVAL = 1_000; // ms
const MAX_LOST_POLLS = 10; // in a row: a phone disconnects the browser while World App is in front

/**
 * Return what the options of all requests for a challenge have in common.
 *
 * @param {WorldId.Config} config
 * @param {WorldId.Challenge} challenge
 * @param {IDKit.RpContext} context
 * @returns {IDKit.Options}
 */
export function requestOptions(config, challenge, context) {
  return {
    app_id: challenge.appId,
    rp_context: context,
    environment: challenge.environment,
    bridge_url: config.bridgeUrl,
    override_connect_base_url: config.connectUrl,
  };
}

/**
 * Return the constraint that the user is a human, for a request with this signal.
 *
 * @param {IDKit.Library} idkit
 * @param {string} signal
 */
export function proofOfHuman(idkit, signal) {
  return idkit.CredentialRequest("proof_of_human", { signal });
}

/**
 * Return for how long a challenge can be answered, in ms.
 *
 * @param {WorldId.Challenge} challenge
 */
export function timeLimit({ rpContext }) {
  return Math.min((rpContext.expires_at - rpContext.created_at) * 1000, TIMEOUT);
}

/**
 * Make a request, show it, and return the proof after the user has confirmed it. Throws `Failure`.
 *
 * @param {() => Promise<IDKit.Request>} make
 * @param {ConfirmationView} view
 */
export async function requestProof(make, view) {
  const request = await makeRequest(make, view);
  return unlessAborted(view.signal, confirmation(request, view));
}

/**
 * Return the result of `work`. Throws `Failure` where `signal` is aborted first, whose reason is the code of the failure.
 *
 * @template Result
 * @param {AbortSignal} signal
 * @param {Promise<Result>} work
 * @returns {Promise<Result>}
 */
export function unlessAborted(signal, work) {
  return new Promise((resolve, reject) => {
    const abort = () => reject(new Failure(signal.reason));
    if (signal.aborted) abort();
    signal.addEventListener("abort", abort, { once: true });
    work.then(resolve, reject);
  });
}

/**
 * Wait `ms`, or until `signal` is aborted.
 *
 * @param {number} ms
 * @param {AbortSignal} signal
 * @returns {Promise<void>}
 */
export function pause(ms, signal) {
  return new Promise((resolve) => {
    setTimeout(resolve, ms);
    signal.addEventListener("abort", () => resolve(), { once: true });
    if (signal.aborted) resolve();
  });
}

/**
 * @param {() => Promise<IDKit.Request>} make
 * @param {ConfirmationView} view
 */
async function makeRequest(make, view) {
  try {
    return await unlessAborted(view.signal, make());
  } catch (error) {
    if (error instanceof Failure) throw error;
    console.warn("IDKit made no request:", error); // mostly a string
    throw new Failure(String(error).includes("nvalid") ? "malformed_request" : "connection_failed");
  }
}

/**
 * @param {IDKit.Request} request
 * @param {ConfirmationView} view
 */
async function confirmation(request, view) {
  view.showRequest(request.connectorURI);
  // Within World App there is no bridge to poll: IDKit waits for the app around the page.
  const completion = request.connectorURI
    ? await poll(request, view)
    : await request.pollUntilCompletion({ timeout: TIMEOUT, signal: view.signal });
  if (!completion.success) throw new Failure(completion.error);
  return completion.result;
}

/**
 * @param {IDKit.Request} request
 * @param {ConfirmationView} view
 * @returns {Promise<IDKit.Completion>}
 */
async function poll(request, view) {
  let lost = 0;
  while (!view.signal.aborted) {
    const { type, result, error } = await request.pollOnce().catch((problem) => {
      console.warn("IDKit cannot reach the bridge:", problem);
      return /** @type {const} */ ({ type: "failed", result: undefined, error: "connection_failed" });
    });
    if (type === "confirmed") return { success: true, result };
    lost = error === "connection_failed" ? lost + 1 : 0;
    if (type === "failed" && (lost === 0 || lost === MAX_LOST_POLLS)) return { success: false, error };
    if (type === "awaiting_confirmation") view.hideRequest(view.texts.isAtApp);
    await pause(POLL_INTERVAL, view.signal);
  }
  return { success: false, error: view.signal.reason };
}
