// What @evanesce/client declares is what its modules are.

import type * as Declared from "../../../transports/evanesce_transports/quart/static/client/index.js";
import type * as cipher from "../../../transports/evanesce_transports/quart/static/client/cipher.js";
import type * as client from "../../../transports/evanesce_transports/quart/static/client/client.js";
import type * as environment from "../../../transports/evanesce_transports/quart/static/client/environment.js";
import type * as errors from "../../../transports/evanesce_transports/quart/static/client/errors.js";
import type * as links from "../../../transports/evanesce_transports/quart/static/client/links.js";
import type * as room from "../../../transports/evanesce_transports/quart/static/client/room.js";

type Is<Wanted, Real extends Wanted> = Real;

export type Values = Is<
  typeof Declared,
  typeof cipher &
    Pick<typeof client, "Client"> &
    Pick<typeof environment, "newMessageId"> &
    typeof errors &
    typeof links
>;
export type Rooms = Is<Declared.Room, room.Room>;
