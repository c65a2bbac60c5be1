// The sign-in that is under way, while the browser is at the issuer. It is kept for this tab alone.

const KEY = "evanesce.oidc";

/**
 * Keep what the return needs, in place of an earlier sign-in.
 *
 * @param {Oidc.Pending} pending
 */
export function keep(pending) {
  sessionStorage.setItem(KEY, JSON.stringify(pending));
}

/**
 * Return the sign-in that is under way, and forget it; null where there is none, or where it has expired.
 *
 * @returns {Oidc.Pending | null}
 */
export function take() {
  const pending = JSON.parse(sessionStorage.getItem(KEY) ?? "null");
  sessionStorage.removeItem(KEY);
  return pending !== null && Date.parse(pending.expiresAt) > Date.now() ? pending : null;
}
