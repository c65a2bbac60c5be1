// The failures that World App and IDKit report, and what the user can do about each.

const OPERATOR = "World App does not accept the requests of this server. Tell the operator of the server";
const EXPIRED = "The request has expired. Try again, and confirm within five minutes";
const UPDATE = "Your World App does not support this yet. Update it, and try again";
const CLOCK =
  "The clock of this server or of your phone is wrong. Set that of your phone, or tell the operator of the server";
const UNKNOWN = "World App could not confirm the request. Try again";

/** @type {Readonly<Record<string, string>>} */
const DESCRIPTIONS = Object.freeze({
  user_rejected: "You declined in World App. Nothing was changed, and you can try again",
  verification_rejected: "World App rejected the verification. Try again",
  credential_unavailable:
    "Your World ID is not verified as human yet. World App shows where to verify it. Come back after that",
  feature_unavailable: UPDATE,
  world_id_4_not_available: UPDATE,
  world_id_3_not_available: "World App no longer supports your older World ID. Update World App, and try again",
  nullifier_replayed: "You already have an account here. Sign in to it with its account code",
  duplicate_nonce: "This request was used before. Try again to make a new one",
  malformed_request: OPERATOR,
  unknown_rp: OPERATOR,
  inactive_rp: OPERATOR,
  invalid_rp_signature: OPERATOR,
  invalid_rp_id_format: OPERATOR,
  invalid_network:
    "Your World App uses another environment than this server. Ask the operator of the server which it uses",
  timestamp_too_old: EXPIRED,
  rp_signature_expired: EXPIRED,
  timestamp_too_far_in_future: CLOCK,
  invalid_timestamp: CLOCK,
  inclusion_proof_pending: "Your World ID is new, and World has not registered it yet. Try again in an hour",
  inclusion_proof_failed: "World could not find your World ID. Try again in a few minutes",
  max_verifications_reached: "World App does not confirm this request again. Tell the operator of the server",
  user_presence_failed: "World App could not verify that it is you. Try again",
  connection_failed: "World cannot be reached. Check the connection of this device and of your phone, and try again",
  timeout: "There was no confirmation in time. Try again",
  cancelled: "The request was cancelled. You can try again",
});

/** World App or IDKit reported a failure, with this code. */
export class Failure extends Error {
  /** @param {string} code */
  constructor(code) {
    super(describe(code));
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
      throw new host.Problem(error.message);
    }
  });
}

/**
 * Return the description of a failure for the user; with its code where the operator of the server needs it.
 *
 * @param {string} code
 */
function describe(code) {
  const description = DESCRIPTIONS[code] ?? UNKNOWN;
  const withCode = [UNKNOWN, OPERATOR, CLOCK].includes(description);
  return withCode ? `${description} (${code}).` : `${description}.`;
}
