// The wire protocol, version 1: the commands, replies, events, and responses over HTTP that the client and the page use. A field
// that the protocol omits where it has no value is optional here.

export declare namespace Protocol {
  /** RFC 3339 in UTC, of the server's clock. */
  type Timestamp = string;

  interface Member {
    userId: string;
    displayName: string;
  }

  interface Limits {
    /** Seconds. */
    shortestTtl: number;
    /** Seconds. */
    longestTtl: number;
    contentBytes: number;
    frameBytes: number;
    history: number;
    roomsPerConnection: number;
    messagesPerSecond: number;
    burst: number;
  }

  // Events

  interface MessageEvent {
    type: "message";
    roomId: string;
    messageId: string;
    senderId: string;
    senderName: string;
    content: string;
    createdAt: Timestamp;
    expiresAt: Timestamp;
    cursor: string;
    replyTo?: string;
  }

  interface Unsent {
    type: "unsent";
    roomId: string;
    messageId: string;
  }

  interface MemberJoined {
    type: "member_joined";
    roomId: string;
    userId: string;
    displayName: string;
    memberCount: number;
  }

  interface MemberLeft {
    type: "member_left";
    roomId: string;
    userId: string;
    memberCount: number;
    removed?: boolean;
  }

  interface MemberUpdated {
    type: "member_updated";
    roomId: string;
    userId: string;
    displayName: string;
  }

  interface MemberCount {
    type: "member_count";
    roomId: string;
    memberCount: number;
  }

  interface TypingEvent {
    type: "typing";
    roomId: string;
    userId: string;
  }

  interface Skipped {
    type: "skipped";
    roomId: string;
    count: number;
  }

  interface Gap {
    type: "gap";
    roomId: string;
    since: string;
  }

  interface RoomClosed {
    type: "room_closed";
    roomId: string;
    reason: string;
  }

  interface RoomUpdated {
    type: "room_updated";
    roomId: string;
    /** Seconds. */
    messageTtl: number;
    access: string;
    locked: boolean;
  }

  interface Removed {
    type: "removed";
    roomId: string;
    reason: string;
    until?: Timestamp;
  }

  interface MemberMuted {
    type: "member_muted";
    roomId: string;
    userId: string;
    until?: Timestamp;
  }

  interface Vote {
    type: "vote";
    roomId: string;
    userId: string;
    votes: number;
    needed: number;
    expiresAt: Timestamp;
    outcome?: string;
  }

  interface Goodbye {
    type: "goodbye";
    code: number;
    reason: string;
    reconnect: boolean;
    /** Seconds. */
    reconnectAfter?: number;
  }

  type Event =
    | MessageEvent
    | Unsent
    | MemberJoined
    | MemberLeft
    | MemberUpdated
    | MemberCount
    | TypingEvent
    | Skipped
    | Gap
    | RoomClosed
    | RoomUpdated
    | Removed
    | MemberMuted
    | Vote
    | Goodbye;

  // Replies; `ref` is that of the command

  interface Reply {
    ref?: string | number;
  }

  interface Welcome extends Reply {
    type: "welcome";
    userId: string;
    displayName: string;
    serverTime: Timestamp;
    token?: string;
    tokenExpiresAt?: Timestamp;
    /** Seconds. */
    messageTtl: number;
    /** Seconds. */
    heartbeat: number;
    limits: Limits;
  }

  interface TokenReply extends Reply {
    type: "token";
    token: string;
    tokenExpiresAt: Timestamp;
  }

  interface Ok extends Reply {
    type: "ok";
  }

  interface RoomReply extends Reply {
    type: "room";
    roomId: string;
    createdBy: string;
    createdAt: Timestamp;
    deepLink: string;
    active: boolean;
    memberCount: number;
    /** Seconds. */
    messageTtl: number;
    access: string;
    locked: boolean;
    encrypted: boolean;
  }

  interface RoomsReply extends Reply {
    type: "rooms";
    rooms: Untagged<RoomReply>[];
    next?: string;
  }

  interface RoomOptions {
    /** Seconds. */
    messageTtl: number;
    access: string;
    locked: boolean;
    encrypted: boolean;
  }

  interface InviteInfo {
    roomId: string;
    inviteId: string;
    people: number;
    left: number;
    expiresAt: Timestamp;
  }

  interface InviteReply extends Reply {
    type: "invite";
    roomId: string;
    inviteId: string;
    link: string;
    people: number;
    left: number;
    expiresAt: Timestamp;
  }

  interface InvitesReply extends Reply {
    type: "invites";
    roomId: string;
    invites: InviteInfo[];
  }

  interface BanInfo {
    userId: string;
    displayName: string;
    until: Timestamp;
  }

  interface BansReply extends Reply {
    type: "bans";
    roomId: string;
    bans: BanInfo[];
    next?: string;
  }

  interface VoteReply extends Reply {
    type: "vote";
    roomId: string;
    userId: string;
    votes: number;
    needed: number;
    expiresAt: Timestamp;
  }

  interface Joined extends Reply {
    type: "joined";
    roomId: string;
    sessionId: string;
    members?: Member[];
    memberCount: number;
    messages: MessageEvent[];
    more: boolean;
    cursor: string;
    missed: number | null;
    unsent: string[];
    room: RoomOptions;
  }

  interface Left extends Reply {
    type: "left";
    roomId: string;
  }

  interface Sent extends Reply {
    type: "sent";
    roomId: string;
    messageId: string;
    createdAt: Timestamp;
    expiresAt: Timestamp;
    duplicate: boolean;
  }

  interface MembersReply extends Reply {
    type: "members";
    roomId: string;
    members?: Member[];
    memberCount: number;
  }

  interface ProfileReply extends Reply {
    type: "profile";
    userId: string;
    displayName: string;
    email?: string;
    accountCode?: string;
    createdAt: Timestamp;
  }

  interface Pong extends Reply {
    type: "pong";
    serverTime: Timestamp;
  }

  interface ErrorReply extends Reply {
    type: "error";
    code: string;
    message: string;
    field?: string;
    retry: boolean;
    /** Seconds. */
    retryAfter?: number;
  }

  // Commands

  /** The fields of each command that the page sends, without `type` and `ref`. */
  interface Commands {
    hello: { token?: string; credential?: object };
    refresh: {};
    create_room: { messageTtl?: number; access?: string; encrypted?: boolean };
    join: { roomId: string; since?: string; invite?: string };
    leave: { roomId: string };
    room: { roomId: string };
    rooms: { after?: string };
    send: { roomId: string; content: string; messageId?: string; ttl?: number; replyTo?: string };
    unsend: { roomId: string; messageId: string };
    typing: { roomId: string };
    members: { roomId: string };
    close_room: { roomId: string };
    update_room: { roomId: string; messageTtl?: number; access?: string; locked?: boolean };
    invite: { roomId: string; people?: number; seconds?: number };
    invites: { roomId: string };
    revoke_invite: { roomId: string; inviteId: string };
    remove_member: { roomId: string; userId: string; banSeconds?: number };
    bans: { roomId: string; after?: string };
    unban: { roomId: string; userId: string };
    mute: { roomId: string; userId: string; seconds: number };
    vote_remove: { roomId: string; userId: string };
    ping: {};
  }

  interface Replies {
    hello: Welcome;
    refresh: TokenReply;
    create_room: RoomReply;
    join: Joined;
    leave: Left;
    room: RoomReply;
    rooms: RoomsReply;
    send: Sent;
    unsend: Ok;
    typing: Ok;
    members: MembersReply;
    close_room: Ok;
    update_room: RoomReply;
    invite: InviteReply;
    invites: InvitesReply;
    revoke_invite: Ok;
    remove_member: Ok;
    bans: BansReply;
    unban: Ok;
    mute: Ok;
    vote_remove: VoteReply;
    ping: Pong;
  }

  type CommandType = keyof Commands;
  type Command<Type extends CommandType> = { type: Type } & Commands[Type];
  type RoomCommandType = Exclude<CommandType, "hello" | "refresh" | "create_room" | "rooms" | "ping">;
  /** A command to a room, without the id of the room. */
  type RoomCommand<Type extends RoomCommandType> = { type: Type } & Omit<Commands[Type], "roomId">;

  /** A frame from the server. */
  type Frame = (Event | Replies[CommandType] | ErrorReply)[];

  // HTTP

  /** A reply as the body of a response. */
  type Untagged<Of> = Omit<Of, "type" | "ref">;

  interface SessionAnswer {
    token: string;
    tokenExpiresAt: Timestamp;
    userId: string;
    displayName: string;
  }

  interface Answers {
    "POST /challenge": Record<string, unknown>;
    "POST /session": SessionAnswer;
    "POST /session/refresh": Untagged<TokenReply>;
    "DELETE /session": null;
    "GET /me": Untagged<ProfileReply>;
    "PATCH /me": Untagged<ProfileReply>;
    "DELETE /me": null;
    "POST /rooms": Untagged<RoomReply>;
    "GET /rooms": Untagged<RoomsReply>;
    [page: `GET /rooms?after=${string}`]: Untagged<RoomsReply>;
  }

  type Method = "GET" | "POST" | "PATCH" | "DELETE";
  /** The body of the response to a request, given as its method and path. */
  type Answer<Request extends string> = Request extends keyof Answers ? Answers[Request] : unknown;
}
