// The client for `evanesce client-conformance`: it takes JSON lines on standard input, and writes JSON lines on standard output.
// The address of the server is its last argument. Node 20 has a WebSocket only with `--experimental-websocket`.

import process from "node:process";
import { createInterface } from "node:readline";
import { Client, NotSent, OutcomeUnknown } from "./index.js";

/** @typedef {Record<string, any>} Fields */

/** @param {Fields} event */
function tell(event) {
  process.stdout.write(`${JSON.stringify(event)}\n`);
}

/** @param {Fields} event */
function tellEvent({ type, error, ...fields }) {
  tell({ event: type, ...fields, ...(error && { code: error.code }) });
}

/** @param {AsyncIterable<Fields>} events */
async function follow(events) {
  for await (const event of events) tellEvent(event);
}

/** @param {any} error */
function failure(error) {
  if (error instanceof OutcomeUnknown) return { error: "outcome_unknown" };
  if (error instanceof NotSent) return { error: "not_sent" };
  return { error: "refused", code: error.code ?? "key_missing" };
}

class Driver {
  #client;
  /** @type {Map<string, import("./index.js").Room>} */
  #rooms = new Map();

  /** @param {Client} client */
  constructor(client) {
    this.#client = client;
    follow(client);
  }

  /** @param {Fields} line */
  take({ do: action, id, roomId, ...fields }) {
    if (action === "connect") this.#client.connect(fields);
    else if (action === "close") this.#client.close();
    else if (action === "join") {
      const room = this.#client.join(roomId, fields);
      this.#rooms.set(roomId, room);
      follow(room);
    } else if (action === "leave") this.#rooms.get(roomId)?.leave();
    else if (action === "send") this.#report(id, "sent", this.#rooms.get(roomId)?.send(fields.content, fields));
    else if (action === "unsend") this.#report(id, "ok", this.#rooms.get(roomId)?.unsend(fields.messageId));
  }

  /**
   * @param {string} id
   * @param {string} event
   * @param {Promise<Fields | void> | undefined} outcome
   */
  async #report(id, event, outcome = Promise.reject(new NotSent())) {
    try {
      tellEvent({ ...(await outcome), type: event, id });
    } catch (error) {
      tell({ event: "failed", id, ...failure(error) });
    }
  }
}

const driver = new Driver(new Client(/** @type {string} */ (process.argv.at(-1))));
for await (const line of createInterface({ input: process.stdin })) driver.take(JSON.parse(line));
process.exit();
