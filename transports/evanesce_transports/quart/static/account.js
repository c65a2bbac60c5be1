// Who is signed in on this origin: the account as kept in localStorage, and the requests over HTTP.

import { Disconnected, Refused } from "./errors.js";

const KEY = "evanesce.account";

let account = read(); // {provider, token, tokenExpiresAt, userId, displayName}, or null
let answered = NaN; // when the server gave its last answer, in ms since 1970 of its own clock
let refreshing = null;

function read() {
  try {
    return JSON.parse(localStorage.getItem(KEY));
  } catch {
    return null; // storage is forbidden, or holds something else: then nobody is signed in
  }
}

export function current() {
  return account;
}

/** Keep `changes` of the account; null forgets it. */
export function keep(changes) {
  account = changes && { ...account, ...changes };
  try {
    if (account) localStorage.setItem(KEY, JSON.stringify(account));
    else localStorage.removeItem(KEY);
  } catch {
    // Storage is forbidden: the account lasts as long as this page.
  }
}

/** Call `changed` when another tab of this origin has changed the account. */
export function watch(changed) {
  addEventListener("storage", (event) => {
    if (event.key !== KEY && event.key !== null) return;
    const before = account;
    account = read();
    changed(before, account);
  });
}

/** Ask over HTTP; gives the answer's object, or null where it has none. Throws `Refused` and `Disconnected`. */
export async function ask(method, path, body) {
  const headers = {};
  if (account) headers.Authorization = `Bearer ${account.token}`;
  if (body) headers["Content-Type"] = "application/json";
  let response;
  let answer;
  try {
    response = await fetch(`/api/v1${path}`, {
      method,
      headers,
      body: body && JSON.stringify(body),
      cache: "no-store",
      signal: AbortSignal.timeout(15_000),
    });
    answered = Date.parse(response.headers.get("Date"));
    answer = response.status === 204 ? null : await response.json();
  } catch {
    throw new Disconnected();
  }
  if (!response.ok) throw new Refused(answer);
  return answer;
}

/** Get a newer token now, and again whenever half of its time is over; `renewed` is called each time. */
export async function keepFresh(renewed) {
  clearTimeout(refreshing);
  if (!account) return;
  const { userId } = account;
  let wait = 60_000;
  try {
    const { token, tokenExpiresAt } = await ask("POST", "/session/refresh");
    if (account?.userId !== userId) return;
    keep({ token, tokenExpiresAt });
    renewed();
    // A timer takes at most 2^31 - 1 ms.
    wait = Math.min((Date.parse(tokenExpiresAt) - answered) / 2 || wait, 2 ** 31 - 1);
  } catch (error) {
    // Too long after the sign-in: the token runs out, and the next request that needs it says so.
    if (error instanceof Refused && !error.retry) return;
  }
  refreshing = setTimeout(() => keepFresh(renewed), Math.max(wait, 1_000));
}

/** Sign out here and on the server. A server that does not know the token any more has nothing to forget. */
export async function signOut() {
  await unlessUnknown(ask("DELETE", "/session"));
  keep(null);
}

export async function forgetMe() {
  await unlessUnknown(ask("DELETE", "/me"));
  keep(null);
}

async function unlessUnknown(asked) {
  try {
    await asked;
  } catch (error) {
    if (!(error instanceof Refused && error.code === "invalid_token")) throw error;
  }
}
