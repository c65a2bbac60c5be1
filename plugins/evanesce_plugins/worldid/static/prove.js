// One proof: a challenge of the server's, IDKit's request, the person's confirmation in World App, the session.

import { element } from "./elements.js";
import { remember } from "./memory.js";
import { words } from "./words.js";

const LONGEST = 10 * 60_000; // ms, whatever the server says
const POLL = 1_000; // ms between two looks at the bridge
const LOST = 10; // looks in a row that find no bridge; a phone's browser is cut off while World App is in front
const LONGEST_WAIT = 15_000; // ms between two attempts to tell the server

/** World App or IDKit did not do it: `code` says why. */
export class Failure extends Error {
  constructor(code) {
    super(words(code));
    this.code = code;
  }
}

/**
 * Prove for `purpose`, and give the server's answer: an account that is signed in. `fields` go with the challenge and the
 * credential, `more` with the credential alone. `view` shows how far it is, and its `signal` ends it. Throws `Failure`,
 * `host.Problem`, and what `host.ask` throws.
 */
export async function prove(host, config, view, purpose, fields = {}, more = {}) {
  view.say("One moment…");
  const idkit = await within(view.signal, library(config.idkit, host.Problem));
  const about = { provider: "worldid", purpose, ...fields };
  const challenge = await within(view.signal, host.ask("POST", "/challenge", about));
  const { created_at, expires_at } = challenge.rpContext;
  const timer = setTimeout(() => view.end("timeout"), Math.min((expires_at - created_at) * 1000, LONGEST));
  try {
    const request = await within(view.signal, asked(idkit, config, purpose, challenge));
    const result = await within(view.signal, confirmed(request, view));
    view.done("Confirmed. One moment…");
    const credential = { ...about, ...more, challengeId: challenge.challengeId, result };
    return await told(host, credential, view);
  } finally {
    clearTimeout(timer);
  }
}

/** Make the session by which the account can be signed in to again. The first one stays: there being one is as good. */
export async function finish(host, config, view) {
  const { userId } = host.account();
  try {
    host.update(await prove(host, config, view, "create_session"));
  } catch (error) {
    if (error.code !== "conflict") throw error;
  }
  remember(userId, true);
}

/** As `host.attempt`, for work in which World App may fail; `failed(code)` is called then. */
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

/** Await `work`, unless `signal` is aborted first: then the reason is the code of the failure. */
function within(signal, work) {
  return new Promise((resolve, reject) => {
    const end = () => reject(new Failure(signal.reason));
    if (signal.aborted) end();
    signal.addEventListener("abort", end, { once: true });
    work.then(resolve, reject);
  });
}

// World's library

let loading = null;

function library(address, Problem) {
  loading ??= new Promise((resolve, reject) => {
    const script = element("script", { src: address });
    script.onload = script.onerror = () => {
      if (globalThis.IDKit) {
        resolve(globalThis.IDKit);
        return;
      }
      loading = null;
      script.remove();
      reject(new Problem("World’s library cannot be loaded. Look at your connection, and try again."));
    };
    document.head.append(script);
  });
  return loading;
}

async function asked(idkit, config, purpose, challenge) {
  const common = {
    app_id: challenge.appId,
    rp_context: challenge.rpContext,
    environment: challenge.environment,
    bridge_url: config.bridgeUrl,
    override_connect_base_url: config.connectUrl,
  };
  const { action, signal, sessionId, legacyProofs: legacy } = challenge;
  const human = idkit.CredentialRequest("proof_of_human", { signal });
  try {
    if (purpose === "create_session") return await idkit.createSession(common).constraints(human);
    if (purpose === "sign_in") return await idkit.proveSession(sessionId, common).constraints(human);
    const request = idkit.request({ ...common, action, allow_legacy_proofs: legacy });
    // Constraints are about 4.0 alone: only the preset binds the signal into a proof of 3.0, and asks for the orb's.
    return await (legacy ? request.preset(idkit.proofOfHuman({ signal })) : request.constraints(human));
  } catch (error) {
    console.warn("IDKit made no request:", error); // a text, mostly
    throw new Failure(String(error).includes("nvalid") ? "malformed_request" : "connection_failed");
  }
}

// The person's confirmation

async function confirmed(request, view) {
  view.show(request.connectorURI);
  // Within World App there is no bridge to look at: IDKit waits for the app around it.
  const outcome = request.connectorURI
    ? await polled(request, view)
    : await request.pollUntilCompletion({ timeout: LONGEST, signal: view.signal });
  if (!outcome.success) throw new Failure(outcome.error);
  return outcome.result;
}

async function polled(request, view) {
  let lost = 0;
  while (!view.signal.aborted) {
    const { type, result, error } = await request.pollOnce().catch((problem) => {
      console.warn("IDKit found no bridge:", problem);
      return { type: "failed", error: "connection_failed" };
    });
    if (type === "confirmed") return { success: true, result };
    lost = error === "connection_failed" ? lost + 1 : 0;
    if (type === "failed" && (lost === 0 || lost === LOST)) return { success: false, error };
    if (type === "awaiting_confirmation") view.done("World App has the request. Confirm it there.");
    await pause(POLL, view.signal);
  }
  return { success: false, error: view.signal.reason };
}

// The server's answer

/**
 * Tell the server, again and again: a proof is made once, and must not be lost with a connection. So an attempt that is
 * under way is awaited even where the person has cancelled.
 */
async function told(host, credential, view) {
  for (let wait = 1_000; ; wait = Math.min(2 * wait, LONGEST_WAIT)) {
    try {
      return await host.ask("POST", "/session", credential);
    } catch (error) {
      if (!error.retry) throw error;
      view.say(`${host.friendly(error)} Trying again…`);
      await pause(error.retryAfter ? error.retryAfter * 1_000 : wait, view.signal);
      if (view.signal.aborted) throw error;
    }
  }
}

/** Wait `ms`, or until `signal` is aborted. */
function pause(ms, signal) {
  return new Promise((resolve) => {
    setTimeout(resolve, ms);
    signal.addEventListener("abort", resolve, { once: true });
    if (signal.aborted) resolve();
  });
}
