// The queue of outgoing messages, without a server.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Disconnected, Refused } from "#page/errors.js";
import { OutgoingMessages } from "#page/outgoing.js";

/** @typedef {() => Promise<unknown>} Reply */

/**
 * Return a queue whose commands get these replies, in order, and a record of what it did.
 *
 * @param {Reply[]} replies
 */
function queue(...replies) {
  /** @type {{ sent: [string, string][], failed: [string, string][], notMember: number }} */
  const record = { sent: [], failed: [], notMember: 0 };
  const messages = new OutgoingMessages({
    send(messageId, content) {
      record.sent.push([messageId, content]);
      return (replies.shift() ?? acknowledge)();
    },
    notMember() {
      record.notMember += 1;
      messages.pause();
    },
    failed: (_, content, reason) => void record.failed.push([content, reason]),
  });
  return { messages, record };
}

async function acknowledge() {}

/** @type {(error: Error) => Reply} */
function refuse(error) {
  return () => Promise.reject(error);
}

/**
 * Wait for some ms; without them until what needs no timer is done.
 *
 * @param {number} ms
 */
async function settle(ms = 0) {
  await new Promise((resolve) => void setTimeout(resolve, ms));
}

test("messages wait until the room is joined, and stay in order", async () => {
  const { messages, record } = queue();
  const ids = [messages.add("one"), messages.add("two")];
  await messages.flush();
  assert.deepEqual(record.sent, []);
  messages.resume();
  await settle();
  assert.deepEqual(record.sent, [
    [ids[0], "one"],
    [ids[1], "two"],
  ]);
});

test("a message whose reply was lost is sent again under the same id", async () => {
  const { messages, record } = queue(refuse(new Disconnected()));
  const id = messages.add("one");
  messages.resume();
  await settle();
  messages.pause();
  messages.resume();
  await settle();
  assert.deepEqual(record.sent, [
    [id, "one"],
    [id, "one"],
  ]);
  assert.deepEqual(record.failed, []);
});

test("a message that the server may have forgotten is not sent again", async () => {
  const { messages, record } = queue(refuse(new Disconnected()));
  messages.setMessageTtl(0.01);
  messages.add("one");
  messages.resume();
  await settle();
  messages.pause();
  await settle(20);
  messages.resume();
  await settle();
  assert.equal(record.sent.length, 1);
  assert.deepEqual(record.failed, [["one", "This message may not have been sent."]]);
});

test("a temporary refusal is repeated after the time that the server gives", async () => {
  const { messages, record } = queue(refuse(new Refused({ code: "rate_limited", retry: true, retryAfter: 0.2 })));
  messages.add("one");
  messages.add("two");
  messages.resume();
  await settle();
  assert.equal(record.sent.length, 1);
  await settle(500);
  assert.deepEqual(
    record.sent.map(([, content]) => content),
    ["one", "one", "two"],
  );
});

test("a final refusal is reported, and the next message is sent", async () => {
  const { messages, record } = queue(refuse(new Refused({ code: "rejected", message: "Not that word." })));
  messages.add("one");
  messages.add("two");
  messages.resume();
  await settle();
  assert.deepEqual(record.failed, [["one", "Not that word."]]);
  assert.deepEqual(
    record.sent.map(([, content]) => content),
    ["one", "two"],
  );
});

test("a message waits where the server does not count the connection as a member", async () => {
  const { messages, record } = queue(refuse(new Refused({ code: "not_member" })));
  messages.add("one");
  messages.resume();
  await settle();
  assert.deepEqual([record.notMember, record.sent.length, record.failed.length], [1, 1, 0]);
  messages.resume();
  await settle();
  assert.equal(record.sent.length, 2);
});

test("a queue that was cleared sends nothing", async () => {
  const { messages, record } = queue();
  messages.add("one");
  messages.clear();
  messages.resume();
  await settle();
  assert.deepEqual(record.sent, []);
});
