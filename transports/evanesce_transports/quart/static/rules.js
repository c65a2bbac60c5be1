// The rules of a room as this page knows them: for how long messages live, who may join, who may not write, and which votes run.
// And the commands that change them.

/**
 * A vote for the removal of a member. `endsAt` is in ms since 1970 by the server's clock.
 *
 * @typedef {{ userId: string, votes: number, needed: number, endsAt: number, hasVoted: boolean }} Ballot
 */

/** @typedef {import("./client/index.js").RoomEvent} RoomEvent */

const FEWEST_FOR_VOTE = 3; // people in the room
const MOST_REMEMBERED = 1_000; // mutes, and votes: a server has no more of them in a room

export class Rules {
  #room;
  #clock;
  /** @type {Protocol.RoomOptions | null} */
  #options = null;
  /** @type {string | null} */
  #createdBy = null;
  /** @type {Map<string, number>} */
  #mutes = new Map(); // until when, in ms since 1970 by the server's clock, by user id
  /** @type {Map<string, Ballot>} */
  #ballots = new Map(); // by user id

  /**
   * @param {Pick<import("./client/index.js").Room, "request">} room
   * @param {{ now(): number }} clock the server's time in ms since 1970
   */
  constructor(room, clock) {
    this.#room = room;
    this.#clock = clock;
  }

  /** Return the options of the room; null before the page is in it. */
  get options() {
    return this.#options;
  }

  /**
   * Return whether a user created the room.
   *
   * @param {string | undefined} userId
   */
  isCreator(userId) {
    return this.#createdBy !== null && userId === this.#createdBy;
  }

  /**
   * Return whether the people in the room may vote about a person. Of large rooms the page does not know who is there.
   *
   * @param {string} userId
   * @param {{ members: ReadonlyMap<string, string>, memberCount: number }} people who are in the room
   */
  canVote(userId, { members, memberCount }) {
    const isCreatorHere = this.#createdBy === null || members.has(this.#createdBy);
    return memberCount >= FEWEST_FOR_VOTE && userId !== this.#createdBy && !isCreatorHere;
  }

  /** Return the votes that run, the oldest first. */
  get ballots() {
    this.sweep();
    return [...this.#ballots.values()];
  }

  /**
   * Return until when a user may not write, in ms since 1970 by the server's clock; undefined where the user may.
   *
   * @param {string} userId
   */
  mutedUntil(userId) {
    this.sweep();
    return this.#mutes.get(userId);
  }

  /** Return when the next mute or vote ends, in ms since 1970 by the server's clock; infinite where there is none. */
  get nextEnd() {
    const votes = [...this.#ballots.values()].map(({ endsAt }) => endsAt);
    return [...this.#mutes.values(), ...votes].reduce((first, one) => Math.min(first, one), Infinity);
  }

  /**
   * Take the creator from the description of the room.
   *
   * @param {Pick<Protocol.RoomReply, "createdBy">} description
   */
  describe({ createdBy }) {
    this.#createdBy = createdBy;
  }

  /**
   * Take an event of the room. Return whether the rules have changed by it.
   *
   * @param {RoomEvent} event
   */
  take(event) {
    switch (event.type) {
      case "joined":
        this.#options = event.room;
        this.#mutes.clear(); // the server tells those that hold after `joined`, and the votes that run
        this.#ballots.clear();
        return true;
      case "room_updated":
        if (this.#options !== null) this.#options = { ...this.#options, ...optionsIn(event) };
        return true;
      case "member_muted":
        this.#muted(event);
        return true;
      case "vote":
        this.#voted(event);
        return true;
      case "left":
        this.#mutes.clear();
        this.#ballots.clear();
        return true;
      default:
        return false;
    }
  }

  /** Forget the mutes and votes whose time is over. Return whether there were any. */
  sweep() {
    const now = this.#clock.now();
    const before = this.#mutes.size + this.#ballots.size;
    for (const [userId, until] of this.#mutes) if (until <= now) this.#mutes.delete(userId);
    for (const [userId, { endsAt }] of this.#ballots) if (endsAt <= now) this.#ballots.delete(userId);
    return this.#mutes.size + this.#ballots.size < before;
  }

  /**
   * Change options of the room. Throws as `Room.request` does; so do all that follow.
   *
   * @param {{ messageTtl?: number, access?: string, locked?: boolean }} changes
   */
  async update(changes) {
    await this.#room.request({ type: "update_room", ...changes });
  }

  /**
   * Invite people, and return the invite, with the only copy of its link.
   *
   * @param {number} people
   * @param {number} seconds for which the invite holds
   */
  invite(people, seconds) {
    return this.#room.request({ type: "invite", people, seconds });
  }

  /** Return the invites that hold, the newest first. */
  async invites() {
    return (await this.#room.request({ type: "invites" })).invites;
  }

  /** @param {string} inviteId */
  async revokeInvite(inviteId) {
    await this.#room.request({ type: "revoke_invite", inviteId });
  }

  /**
   * Remove a person, and ban the person for so many seconds; 0: no ban.
   *
   * @param {string} userId
   * @param {number} banSeconds
   */
  async remove(userId, banSeconds) {
    await this.#room.request({ type: "remove_member", userId, banSeconds });
  }

  /**
   * Forbid a person to write for so many seconds; 0 allows it again.
   *
   * @param {string} userId
   * @param {number} seconds
   */
  async mute(userId, seconds) {
    await this.#room.request({ type: "mute", userId, seconds });
  }

  /**
   * Return a page of the bans.
   *
   * @param {string} [after] `next` of the page before
   */
  bans(after) {
    return this.#room.request({ type: "bans", ...(after !== undefined && { after }) });
  }

  /** @param {string} userId */
  async unban(userId) {
    await this.#room.request({ type: "unban", userId });
  }

  /**
   * Vote for the removal of a member.
   *
   * @param {string} userId
   */
  async vote(userId) {
    const vote = await this.#room.request({ type: "vote_remove", userId });
    if (vote.votes < vote.needed) this.#voted(vote, true); // else it is over, and its event may have come before
  }

  /** @param {Protocol.MemberMuted} event */
  #muted({ userId, until }) {
    if (until === undefined) this.#mutes.delete(userId);
    else if (this.#mutes.has(userId) || this.#mutes.size < MOST_REMEMBERED) this.#mutes.set(userId, Date.parse(until));
  }

  /**
   * @param {Protocol.Vote} vote
   * @param {boolean} hasVoted
   */
  #voted({ userId, votes, needed, expiresAt, outcome }, hasVoted = this.#ballots.get(userId)?.hasVoted ?? false) {
    if (outcome !== undefined) this.#ballots.delete(userId);
    else if (this.#ballots.has(userId) || this.#ballots.size < MOST_REMEMBERED) {
      this.#ballots.set(userId, { userId, votes, needed, endsAt: Date.parse(expiresAt), hasVoted });
    }
  }
}

/** @param {Protocol.RoomUpdated} event */
function optionsIn({ messageTtl, access, locked }) {
  return { messageTtl, access, locked };
}
