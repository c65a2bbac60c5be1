// The rules of a room, from its events, and the commands that change them.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Rules } from "#page/rules.js";

const ROOM = "00000000-0000-4000-8000-000000000001";
const OPTIONS = Object.freeze({ messageTtl: 60, access: "link", locked: false, encrypted: false });

/** A room whose commands are answered by the test, and a clock that the test sets. */
class Stage {
  time = 1_000_000;
  /** @type {object[]} */
  asked = [];
  /** @type {any} */
  reply = { type: "ok" };
  rules = new Rules(
    {
      request: async (/** @type {object} */ command) => {
        this.asked.push(command);
        return this.reply;
      },
    },
    { now: () => this.time },
  );

  constructor() {
    this.take({ type: "joined", memberCount: 3, room: OPTIONS, resumed: false });
  }

  /** @param {object} event */
  take(event) {
    return this.rules.take(/** @type {import("#page/client/index.js").RoomEvent} */ ({ roomId: ROOM, ...event }));
  }

  /** @param {number} ms */
  at(ms) {
    return new Date(this.time + ms).toISOString();
  }
}

test("the options are those of the last event", () => {
  const stage = new Stage();
  assert.deepEqual(stage.rules.options, OPTIONS);
  assert.ok(stage.take({ type: "room_updated", messageTtl: 20, access: "invite", locked: true }));
  assert.deepEqual(stage.rules.options, { messageTtl: 20, access: "invite", locked: true, encrypted: false });
  assert.ok(!stage.take({ type: "typing", userId: "ana" }));
});

test("the creator is known when the room was described", () => {
  const { rules } = new Stage();
  assert.ok(!rules.isCreator("ana") && !rules.isCreator(undefined));
  rules.describe({ createdBy: "ana" });
  assert.ok(rules.isCreator("ana") && !rules.isCreator("ben"));
});

test("a mute ends by itself, or by the creator", () => {
  const stage = new Stage();
  stage.take({ type: "member_muted", userId: "ana", until: stage.at(5_000) });
  stage.take({ type: "member_muted", userId: "ben", until: stage.at(9_000) });
  assert.equal(stage.rules.mutedUntil("ana"), 1_005_000);
  assert.equal(stage.rules.nextEnd, 1_005_000);
  stage.take({ type: "member_muted", userId: "ben" });
  assert.equal(stage.rules.mutedUntil("ben"), undefined);
  stage.time += 5_000;
  assert.ok(stage.rules.sweep());
  assert.equal(stage.rules.mutedUntil("ana"), undefined);
  assert.equal(stage.rules.nextEnd, Infinity);
});

test("a vote is counted until it has an outcome, or its time is over", async () => {
  const stage = new Stage();
  stage.take({ type: "vote", userId: "ben", votes: 1, needed: 2, expiresAt: stage.at(60_000) });
  const ballot = { userId: "ben", votes: 1, needed: 2, endsAt: 1_060_000, hasVoted: false };
  assert.deepEqual(stage.rules.ballots, [ballot]);
  stage.reply = { type: "vote", userId: "ben", votes: 2, needed: 3, expiresAt: stage.at(60_000) };
  await stage.rules.vote("ben");
  assert.deepEqual(stage.asked, [{ type: "vote_remove", userId: "ben" }]);
  assert.deepEqual(stage.rules.ballots, [{ ...ballot, votes: 2, needed: 3, hasVoted: true }]);
  stage.take({ type: "vote", userId: "ben", votes: 2, needed: 2, expiresAt: stage.at(60_000) });
  assert.equal(stage.rules.ballots[0].hasVoted, true);
  stage.take({ type: "vote", userId: "ben", votes: 3, needed: 3, expiresAt: stage.at(60_000), outcome: "removed" });
  assert.deepEqual(stage.rules.ballots, []);
  stage.reply = { type: "vote", userId: "ben", votes: 3, needed: 3, expiresAt: stage.at(60_000) };
  await stage.rules.vote("ben"); // the reply to the last vote may come after the outcome
  assert.deepEqual(stage.rules.ballots, []);
  stage.take({ type: "vote", userId: "cleo", votes: 1, needed: 2, expiresAt: stage.at(60_000) });
  stage.time += 60_000;
  assert.deepEqual(stage.rules.ballots, []);
});

test("after another join, and after the end, only what the server tells again holds", () => {
  for (const event of [
    { type: "joined", memberCount: 3, room: OPTIONS, resumed: true },
    { type: "left", reason: "closed" },
  ]) {
    const stage = new Stage();
    stage.take({ type: "member_muted", userId: "ana", until: stage.at(5_000) });
    stage.take({ type: "vote", userId: "ben", votes: 1, needed: 2, expiresAt: stage.at(60_000) });
    stage.take(event);
    assert.equal(stage.rules.mutedUntil("ana"), undefined);
    assert.deepEqual(stage.rules.ballots, []);
  }
});

test("a server that tells of mutes and votes without end fills no memory", () => {
  const stage = new Stage();
  for (let number = 0; number < 5_000; number += 1) {
    stage.take({ type: "member_muted", userId: `user ${number}`, until: stage.at(1e9) });
    stage.take({ type: "vote", userId: `user ${number}`, votes: 1, needed: 2, expiresAt: stage.at(1e9) });
  }
  assert.equal(stage.rules.ballots.length, 1_000);
  assert.equal(stage.rules.mutedUntil("user 4999"), undefined);
});

test("the commands", async () => {
  const stage = new Stage();
  const { rules } = stage;
  stage.reply = { invites: [], bans: [] };
  await rules.update({ locked: true });
  await rules.invite(3, 3600);
  await rules.invites();
  await rules.revokeInvite("an invite");
  await rules.remove("ben", 3600);
  await rules.mute("ben", 60);
  await rules.bans();
  await rules.bans("next");
  await rules.unban("ben");
  assert.deepEqual(stage.asked, [
    { type: "update_room", locked: true },
    { type: "invite", people: 3, seconds: 3600 },
    { type: "invites" },
    { type: "revoke_invite", inviteId: "an invite" },
    { type: "remove_member", userId: "ben", banSeconds: 3600 },
    { type: "mute", userId: "ben", seconds: 60 },
    { type: "bans" },
    { type: "bans", after: "next" },
    { type: "unban", userId: "ben" },
  ]);
});

test("a vote is offered where the server would take it", () => {
  const { rules } = new Stage();
  const [creator, ana, ben, cleo] = ["creator", "ana", "ben", "cleo"];
  /** @param {string[]} here */
  const people = (...here) => ({ members: new Map(here.map((one) => [one, one])), memberCount: here.length });
  assert.ok(!rules.canVote(ben, people(ana, ben, cleo)), "the page does not know the creator yet");
  rules.describe({ createdBy: creator });
  assert.ok(rules.canVote(ben, people(ana, ben, cleo)));
  assert.ok(!rules.canVote(ben, people(ana, ben)), "too few");
  assert.ok(!rules.canVote(ben, people(ana, ben, creator)), "the creator is here");
  assert.ok(!rules.canVote(creator, people(ana, ben, cleo)), "against the creator");
  assert.ok(rules.canVote(ben, { members: new Map(), memberCount: 500 }), "it is not known who is here");
});
