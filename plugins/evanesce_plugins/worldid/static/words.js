// What World App and IDKit report, in words that a person understands, and what to do about it.

const OPERATOR = "World App does not accept this server’s requests. Those who run the server have to look into it";
const EXPIRED = "The request has run out. Try again, and confirm within five minutes";
const UPDATE = "Your World App cannot do this yet. Update it, and try again";
const CLOCK = "The clock of this server or of your phone is wrong. Set yours, or tell those who run the server";

const WORDS = {
  user_rejected: "You declined in World App. Nothing has happened: you can try again",
  verification_rejected: "World App did not confirm it. Try again",
  credential_unavailable: "Your World ID is not verified as human yet. World App shows where that is done: come back after it",
  feature_unavailable: UPDATE,
  world_id_4_not_available: UPDATE,
  world_id_3_not_available: "World App cannot make a World ID of the older kind any more. Update it, and try again",
  nullifier_replayed: "You already have an account here: sign in to it, with its account code",
  duplicate_nonce: "This request was used before. Try again: it will be a new one",
  malformed_request: OPERATOR,
  unknown_rp: OPERATOR,
  inactive_rp: OPERATOR,
  invalid_rp_signature: OPERATOR,
  invalid_rp_id_format: OPERATOR,
  invalid_network: "Your World App is not of the environment that this server uses. Those who run the server know which",
  timestamp_too_old: EXPIRED,
  rp_signature_expired: EXPIRED,
  timestamp_too_far_in_future: CLOCK,
  invalid_timestamp: CLOCK,
  inclusion_proof_pending: "Your World ID is new, and World is not ready with it. Try again in an hour",
  inclusion_proof_failed: "World could not find your World ID at the moment. Try again in a few minutes",
  max_verifications_reached: "World App does not confirm this any more times. Those who run the server have to look into it",
  user_presence_failed: "World App could not see that it is you. Try again",
  connection_failed: "World cannot be reached. Look at your connection, here and on your phone, and try again",
  timeout: "There was no confirmation in time. Try again",
  cancelled: "It was cancelled. You can try again",
};

/** Say what the error `code` means; where there is more to find out, the code itself stands there too. */
export function words(code) {
  const known = WORDS[code] ?? "World App could not do it. Try again";
  const shown = WORDS[code] === undefined || known === OPERATOR || known === CLOCK;
  return shown ? `${known} (${code}).` : `${known}.`;
}
