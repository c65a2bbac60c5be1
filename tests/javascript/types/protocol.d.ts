// The types of the wire protocol, which belong to the client, by a short name in all modules of the page.

import { Protocol as Types } from "../../../transports/evanesce_transports/quart/static/client/protocol.js";

declare global {
  export import Protocol = Types;
}
