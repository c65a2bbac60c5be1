// The types of @evanesce/client. docs/reference/javascript-client.md of the source describes them.

import type { Protocol } from "./protocol.js";

export type { Protocol };

/** What the client takes from its surroundings; each part may be replaced. Times are in ms. */
export interface Environment {
  /** The class of WebSockets: that of the browser or of Node 22 unless another one is given. */
  WebSocket: WebSocketClass;
  setTimeout(ring: () => void, ms: number): unknown;
  clearTimeout(timer: unknown): void;
  /** A clock that nobody sets. It may stand still while the computer sleeps. */
  monotonic(): number;
  /** A clock that goes on while the computer sleeps. Its value itself is not used. */
  wall(): number;
  /** Return a number from 0 up to 1. */
  random(): number;
  /** Return a random UUID. */
  uuid(): string;
  /** What has the events `online` and `offline`: the window of a browser. */
  network: Pick<EventTarget, "addEventListener" | "removeEventListener"> | undefined;
}

export type WebSocketClass = new (address: string, protocol: string) => WebSocketLike;

/** The part of a WebSocket that the client uses. */
export interface WebSocketLike {
  readonly readyState: number;
  onopen: ((event: any) => unknown) | null;
  onmessage: ((event: any) => unknown) | null;
  onclose: ((event: any) => unknown) | null;
  onerror: ((event: any) => unknown) | null;
  send(text: string): void;
  close(code?: number): void;
}

/** Who signs in: a token, or the credential of a provider, such as `{ provider: "guest", displayName: "Ana" }`. */
export interface SignIn {
  token?: string;
  /** When the token runs out: then it is renewed before. */
  tokenExpiresAt?: Protocol.Timestamp;
  credential?: object;
}

export interface ClientOptions extends Partial<Environment> {
  /** Called once where the server does not accept the sign-in any more; null: there is no other one. */
  signIn?: () => Promise<SignIn | null>;
  /** Called when the client has a newer token. */
  tokenRenewed?: (token: string, tokenExpiresAt: Protocol.Timestamp) => void;
  /** Called each time that the server has told its time. */
  timeTold?: () => void;
}

/** What the fragment of a room's link holds: the key of its encryption, and an invite. */
export interface RoomSecrets {
  key?: string;
  invite?: string;
}

export interface JoinOptions extends RoomSecrets {
  /** Called when the server cannot let the client join at the moment; it is asked again in so many seconds. */
  waiting?: (error: Refused, seconds: number) => void;
}

export interface SendOptions {
  /** A UUID: one of its own for each message, unless another one is given. */
  messageId?: string;
  /** Seconds: this message alone lives shorter than the room's. */
  ttl?: number;
  /** The id of another message. */
  replyTo?: string;
}

export type ConnectionState =
  | { state: "connecting" }
  | { state: "online" }
  /** `retryIn`: seconds until the next attempt; absent while the application signs in. `reason`: the server's, if it gave one. */
  | { state: "offline"; retryIn?: number; reason?: string }
  /** `code`: that of the protocol with which the connection ended. */
  | { state: "stopped"; code: number; reason: string };

export type StateEvent = { type: "state" } & ConnectionState;

/** A command of the protocol, also one that is not declared here. */
export type AnyCommand = { type: string; [field: string]: unknown };

export type RoomState = "joining" | "joined" | "left";

/** A message. Where the room is encrypted, its content is opened; null where it cannot be. */
export interface MessageEvent extends Omit<Protocol.MessageEvent, "content"> {
  content: string | null;
  encrypted?: true;
  unreadable?: true;
}

export interface JoinedEvent {
  type: "joined";
  roomId: string;
  members?: Protocol.Member[];
  memberCount: number;
  room: Protocol.RoomOptions;
  /** Whether the client was in the room before. */
  resumed: boolean;
}

/** Messages that nobody will see here; null: it cannot be known how many. */
export interface MissedEvent {
  type: "missed";
  roomId: string;
  count: number | null;
  reason: "resume" | "skipped" | "expired";
}

/** The life of a message that was given is over. */
export interface ExpiredEvent {
  type: "expired";
  roomId: string;
  messageId: string;
}

/** The last event of a room. */
export interface LeftEvent {
  type: "left";
  roomId: string;
  reason: "left" | "closed" | "removed" | "refused";
  error?: Refused;
}

export type RoomEvent =
  | JoinedEvent
  | MissedEvent
  | MessageEvent
  | ExpiredEvent
  | LeftEvent
  | Protocol.Unsent
  | Protocol.MemberJoined
  | Protocol.MemberLeft
  | Protocol.MemberUpdated
  | Protocol.MemberCount
  | Protocol.TypingEvent
  | Protocol.RoomUpdated
  | Protocol.MemberMuted
  | Protocol.Vote
  | Protocol.Removed
  | Protocol.RoomClosed;

export class Client implements AsyncIterable<StateEvent> {
  constructor(server: string, options?: ClientOptions);
  get state(): StateEvent;
  get welcome(): Protocol.Welcome | null;
  now(): number;
  connect(signIn: SignIn): void;
  close(): void;
  join(linkOrId: string, options?: JoinOptions): Room;
  request<Type extends Protocol.CommandType>(command: Protocol.Command<Type>): Promise<Protocol.Replies[Type]>;
  request(command: AnyCommand): Promise<any>;
  renew(token: string, tokenExpiresAt?: Protocol.Timestamp): void;
  check(): void;
  [Symbol.asyncIterator](): AsyncIterator<StateEvent, void>;
}

export interface Room extends AsyncIterable<RoomEvent> {
  readonly roomId: string;
  readonly state: RoomState;
  readonly options: Protocol.RoomOptions | null;
  send(content: string, options?: SendOptions): Promise<Protocol.Sent>;
  unsend(messageId: string): Promise<void>;
  request<Type extends Protocol.RoomCommandType>(command: Protocol.RoomCommand<Type>): Promise<Protocol.Replies[Type]>;
  request(command: AnyCommand): Promise<any>;
  leave(): void;
}

export class Refused extends Error {
  constructor(error?: Partial<Protocol.ErrorReply>);
  readonly code: string;
  readonly field: string | undefined;
  readonly retry: boolean;
  /** Seconds. */
  readonly retryAfter: number | undefined;
}

export class NotSent extends Error {
  constructor(message?: string);
}

export class OutcomeUnknown extends Error {
  constructor(message?: string);
}

export class KeyMissing extends Error {
  constructor(message?: string);
}

/** The encryption of a room with the key of its link. */
export class RoomCipher {
  constructor(key: string, roomId: string);
  seal(text: string, senderId: string, messageId: string): Promise<string>;
  open(content: string, senderId: string, messageId: string): Promise<string | null>;
}

/** Return how many bytes a text may have, so that its encrypted content has at most `contentBytes` bytes. */
export function longestText(contentBytes: number): number;

/** Return a random UUID: the id of a new message. */
export function newMessageId(): string;

/** Return the id and the secrets that a room's link has. Throws `TypeError` where the text is no link and no id. */
export function parseRoom(linkOrId: string): RoomSecrets & { roomId: string };

/** Return the secrets in the fragment of a room's link. */
export function secretsIn(fragment: string): RoomSecrets;
