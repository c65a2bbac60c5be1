// Requests to the routes of the plugin, which are beside its modules.

import { textsFor } from "./texts.js";

const TIMEOUT = 15_000; // ms

/**
 * Send a request with the token of the account, and return the object of the answer. Throws `Problem`, with the `code` of
 * the server where it refuses the request.
 *
 * @param {Page.Host} host
 * @param {"GET" | "POST"} method
 * @param {string} path relative to this module
 * @param {object} [body]
 * @returns {Promise<unknown>}
 */
export async function request(host, method, path, body) {
  const { token } = /** @type {Page.Account} */ (host.account());
  let response;
  let answer;
  try {
    response = await fetch(new URL(path, import.meta.url), {
      method,
      headers: { Accept: "application/json", "Content-Type": "application/json", Authorization: `Bearer ${token}` },
      body: body && JSON.stringify(body),
      cache: "no-store",
      signal: AbortSignal.timeout(TIMEOUT),
    });
    answer = await response.json();
  } catch {
    throw new host.Problem(textsFor(host).unreachable);
  }
  if (!response.ok) throw Object.assign(new host.Problem(answer.message), { code: answer.code });
  return answer;
}
