// The failures that World App and IDKit report, and what the user can do about each.

import { FAILURE_TEXTS } from "./failure-texts.js";

/** @type {Readonly<Record<string, string>>} */
const KINDS = Object.freeze({
  user_rejected: "declined",
  verification_rejected: "rejected",
  credential_unavailable: "unverified",
  feature_unavailable: "update",
  world_id_4_not_available: "update",
  world_id_3_not_available: "tooOld",
  nullifier_replayed: "known",
  duplicate_nonce: "repeated",
  malformed_request: "operator",
  unknown_rp: "operator",
  inactive_rp: "operator",
  invalid_rp_signature: "operator",
  invalid_rp_id_format: "operator",
  invalid_network: "network",
  timestamp_too_old: "expired",
  rp_signature_expired: "expired",
  timestamp_too_far_in_future: "clock",
  invalid_timestamp: "clock",
  inclusion_proof_pending: "pending",
  inclusion_proof_failed: "notFound",
  max_verifications_reached: "tooOften",
  user_presence_failed: "absent",
  connection_failed: "unreachable",
  timeout: "late",
  cancelled: "cancelled",
});

const WITH_CODE = Object.freeze(["unknown", "operator", "clock"]); // kinds of which the operator needs the code

/** World App or IDKit reported a failure, with this code. */
export class Failure extends Error {
  /** @param {string} code */
  constructor(code) {
    super(`World ID: ${code}`);
    this.code = code;
  }
}

/**
 * Call `host.attempt` with work that may throw `Failure`; `failed` is called with the code of the failure.
 *
 * @param {Page.Host} host
 * @param {HTMLButtonElement} button
 * @param {HTMLElement} problem
 * @param {() => Promise<void>} work
 * @param {(code: string) => void} failed
 */
export function attempt(host, button, problem, work, failed = () => {}) {
  return host.attempt(button, problem, async () => {
    try {
      await work();
    } catch (error) {
      if (!(error instanceof Failure)) throw error;
      failed(error.code);
      throw new host.Problem(describe(host, error.code));
    }
  });
}

/**
 * Return the description of a failure for the user; with its code where the operator of the server needs it.
 *
 * @param {Pick<Page.Host, "language">} host
 * @param {string} code
 */
function describe({ language }, code) {
  const kind = KINDS[code] ?? "unknown";
  const description = (FAILURE_TEXTS[language] ?? FAILURE_TEXTS.en)[kind];
  return WITH_CODE.includes(kind) ? `${description} (${code}).` : `${description}.`;
}
