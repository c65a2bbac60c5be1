// Requests to the HTTP API.

import { basePath } from "./addresses.js";
import { Refused } from "./client/errors.js";
import { Disconnected } from "./errors.js";

const TIMEOUT = 15_000; // ms

export class Api {
  #token;

  /** The time of the last response, in ms since 1970 by the server's clock; NaN where it is not known. */
  respondedAt = NaN;

  /** @param {() => string | undefined} token returns the token of the user who is signed in */
  constructor(token) {
    this.#token = token;
  }

  /**
   * Send a request and return the object in the response, or null where the response has no body. Throws `Refused` and
   * `Disconnected`.
   *
   * @template {Protocol.Method} Method
   * @template {string} Path
   * @param {Method} method
   * @param {Path} path below `/api/v1`
   * @param {object} [body]
   * @returns {Promise<Protocol.Answer<`${Method} ${Path}`>>}
   */
  async request(method, path, body) {
    /** @type {Record<string, string>} */
    const headers = {};
    const token = this.#token();
    if (token !== undefined) headers.Authorization = `Bearer ${token}`;
    if (body) headers["Content-Type"] = "application/json";
    let response;
    let answer;
    try {
      response = await fetch(`${basePath()}/api/v1${path}`, {
        method,
        headers,
        body: body && JSON.stringify(body),
        cache: "no-store",
        signal: AbortSignal.timeout(TIMEOUT),
      });
      this.respondedAt = Date.parse(response.headers.get("Date") ?? "");
      answer = response.status === 204 ? null : await response.json();
    } catch {
      throw new Disconnected();
    }
    if (!response.ok) throw new Refused(answer);
    return answer;
  }
}
