// The ways to sign in that this server has. Each is a module that its provider brings along.

import { ask, current, keep } from "./account.js";
import { Disconnected, friendly, Problem } from "./errors.js";

const PATIENCE = 15_000; // ms

let listed = null;

/** Give [{provider, module}] in the server's order, `module` being an address. Throws `Disconnected`. */
export function ways() {
  listed ??= list().catch((error) => {
    listed = null;
    throw error;
  });
  return listed;
}

async function list() {
  try {
    const response = await fetch("/static/sign-in.json", { signal: AbortSignal.timeout(PATIENCE) });
    return await response.json();
  } catch {
    throw new Disconnected();
  }
}

/** Give what a provider's module exports. Throws what importing it throws. */
export async function moduleOf(provider) {
  const way = (await ways()).find((one) => one.provider === provider);
  return way === undefined ? null : (await import(way.module)).default;
}

/** Call a function that a provider's module may have. Whatever goes wrong in it is its own, and keeps nobody from going on. */
export async function call(provider, name, ...given) {
  try {
    return await (await moduleOf(provider))?.[name]?.(...given);
  } catch (error) {
    if (!(error instanceof Disconnected)) console.error(`${name} of the provider ${provider} failed:`, error);
  }
}

/**
 * What a provider's module is given. `signal` is aborted when the place that the module draws in is taken away: what
 * comes in later counts no more. `page` has `attempt(button, problem, work)`, `fresh()` and `open()`.
 */
export function host(provider, signal, page) {
  function update({ token, tokenExpiresAt, userId, displayName }) {
    if (signal.aborted) return;
    keep({ provider, token, tokenExpiresAt, userId, displayName });
    page.fresh();
  }
  return {
    signal,
    ask,
    friendly,
    Problem,
    attempt: page.attempt,
    account: current,
    update,
    signedIn(answer) {
      update(answer);
      if (!signal.aborted) page.open();
    },
  };
}
