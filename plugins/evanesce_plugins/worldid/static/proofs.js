// Signing up and signing in: the server's challenge, the proofs from World App, and the server's answer.

import { Failure } from "./failures.js";
import { pause, proofOfHuman, requestOptions, requestProof, timeLimit, unlessAborted } from "./idkit.js";

/** @typedef {import("./confirmation-view.js").ConfirmationView} ConfirmationView */

const FIRST_DELAY = 1_000; // ms before the credential is sent again
const MAX_DELAY = 15_000; // ms

/** Signs users up and in. Each method shows its progress in a view, and ends when the signal of the view is aborted. */
export class Proofs {
  #host;
  #config;
  #resources;

  /**
   * @param {Page.Host} host
   * @param {WorldId.ReadyConfig} config
   * @param {import("./resources.js").Resources} resources
   */
  constructor(host, config, resources) {
    this.#host = host;
    this.#config = config;
    this.#resources = resources;
  }

  /**
   * Sign up, and return the server's answer: an account that is signed in. The user confirms twice: a new session, which is
   * used to sign in later, and the proof of being human, whose signal names that session, so that neither is valid without
   * the other. With `legacyOnly` the second proof is one of World ID 3.0, for an account that was created with one. Throws
   * `Failure`, `host.Problem`, and what `host.ask` throws.
   *
   * @param {ConfirmationView} view
   * @param {WorldId.SignUpFields} fields of the credential
   */
  async signUp(view, fields, { legacyOnly = false } = {}) {
    /** @type {(idkit: IDKit.Library, challenge: WorldId.SignUpChallenge) => Promise<WorldId.Proofs>} */
    const prove = async (idkit, challenge) => {
      view.showStep(view.texts.step1);
      const session = await this.#newSession(idkit, view, challenge, challenge.legacyProofs && !legacyOnly);
      view.showStep(view.texts.step2);
      const signal = challenge.signal + (session?.session_id ?? "").replace(/^session_/, "");
      const result = await requestProof(() => this.#signUpRequest(idkit, challenge, signal, legacyOnly), view);
      return session === undefined ? { result } : { session, result };
    };
    return this.#answerChallenge(view, { purpose: "sign_up" }, fields, prove);
  }

  /**
   * Sign in to the account with this code, and return the server's answer. Throws as `signUp` does.
   *
   * @param {ConfirmationView} view
   * @param {string} accountCode
   */
  async signIn(view, accountCode) {
    /** @type {(idkit: IDKit.Library, challenge: WorldId.SignInChallenge) => Promise<WorldId.Proofs>} */
    const prove = async (idkit, challenge) => {
      const options = requestOptions(this.#config, challenge, challenge.rpContext);
      const make = () =>
        idkit.proveSession(challenge.sessionId, options).constraints(proofOfHuman(idkit, challenge.signal));
      return { result: await requestProof(make, view) };
    };
    return this.#answerChallenge(view, { purpose: "sign_in", accountCode }, {}, prove);
  }

  /**
   * Request a challenge, have `prove` answer it in time, send the proofs, and return the server's answer.
   *
   * @template {WorldId.Challenge} Challenge
   * @param {ConfirmationView} view
   * @param {{ purpose: "sign_up" } | { purpose: "sign_in", accountCode: string }} purpose
   * @param {WorldId.SignUpFields} fields
   * @param {(idkit: IDKit.Library, challenge: Challenge) => Promise<WorldId.Proofs>} prove
   */
  async #answerChallenge(view, purpose, fields, prove) {
    view.showState(view.texts.moment);
    const host = this.#host;
    const idkit = await unlessAborted(view.signal, this.#resources.library(this.#config.idkit, host));
    const answer = await unlessAborted(
      view.signal,
      host.ask("POST", "/challenge", { provider: "worldid", ...purpose }),
    );
    // The server answers with a challenge for the purpose of the request.
    const challenge = /** @type {Challenge} */ (/** @type {unknown} */ (answer));
    const timer = setTimeout(() => view.end("timeout"), timeLimit(challenge));
    try {
      const proofs = await prove(idkit, challenge);
      view.hideRequest(view.texts.confirmed);
      const { challengeId } = challenge;
      return await this.#sendCredential(view, { provider: "worldid", ...purpose, ...fields, challengeId, ...proofs });
    } finally {
      clearTimeout(timer);
    }
  }

  /**
   * Return the proof of a new session; undefined where it is `optional` and the user's World App is too old for sessions.
   *
   * @param {IDKit.Library} idkit
   * @param {ConfirmationView} view
   * @param {WorldId.SignUpChallenge} challenge
   * @param {boolean} optional
   */
  async #newSession(idkit, view, challenge, optional) {
    const options = requestOptions(this.#config, challenge, challenge.sessionContext);
    const make = () => idkit.createSession(options).constraints(proofOfHuman(idkit, challenge.signal));
    try {
      return await requestProof(make, view);
    } catch (error) {
      if (optional && error instanceof Failure && error.code === "world_id_4_not_available") return undefined;
      throw error;
    }
  }

  /**
   * @param {IDKit.Library} idkit
   * @param {WorldId.SignUpChallenge} challenge
   * @param {string} signal
   * @param {boolean} legacyOnly
   */
  #signUpRequest(idkit, challenge, signal, legacyOnly) {
    const { action, rpContext, legacyProofs } = challenge;
    const options = requestOptions(this.#config, challenge, rpContext);
    const builder = idkit.request({ ...options, action, allow_legacy_proofs: legacyProofs });
    if (legacyOnly) return builder.preset(idkit.orbLegacy({ signal }));
    // Constraints apply to 4.0 only. The preset also binds the signal into a proof of 3.0, and requires the orb's.
    return legacyProofs
      ? builder.preset(idkit.proofOfHuman({ signal }))
      : builder.constraints(proofOfHuman(idkit, signal));
  }

  /**
   * Send a credential, and again after temporary errors: World App does not make a proof twice, so that it must not be lost
   * with a connection. An attempt that is under way is awaited even after the user has cancelled.
   *
   * @param {ConfirmationView} view
   * @param {object} credential
   */
  async #sendCredential(view, credential) {
    for (let delay = FIRST_DELAY; ; delay = Math.min(2 * delay, MAX_DELAY)) {
      try {
        return await this.#host.ask("POST", "/session", credential);
      } catch (error) {
        if (!isTemporary(error)) throw error;
        view.showState(`${this.#host.friendly(error)} ${view.texts.again}`);
        await pause(error.retryAfter ? error.retryAfter * 1_000 : delay, view.signal);
        if (view.signal.aborted) throw error;
      }
    }
  }
}

/**
 * Return whether `error` is one of `host.ask` after which the request may succeed later.
 *
 * @param {unknown} error
 * @returns {error is Error & { retry: true, retryAfter?: number }}
 */
function isTemporary(error) {
  return error instanceof Error && "retry" in error && error.retry === true;
}
