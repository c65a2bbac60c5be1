// The encryption of rooms, by the vectors that hold for every client.

import assert from "node:assert/strict";
import { test } from "node:test";
import { VECTORS } from "#data/room-encryption.js";
import { KeyMissing, longestText, RoomCipher } from "#page/client/index.js";

const [FIRST] = VECTORS;
const OTHER = "00000000-0000-4000-8000-00000000000f";

test("the vectors can be opened", async () => {
  assert.ok(VECTORS.length > 5);
  for (const { key, roomId, senderId, messageId, content, text } of VECTORS) {
    assert.equal(await new RoomCipher(key, roomId).open(content, senderId, messageId), text);
  }
});

test("what is sealed has the size of the vectors, and can be opened", async () => {
  for (const { key, roomId, senderId, messageId, content, text } of VECTORS) {
    const cipher = new RoomCipher(key, roomId);
    const sealed = await cipher.seal(text, senderId, messageId);
    assert.equal(sealed.length, content.length);
    assert.ok(/^[A-Za-z0-9_-]+$/.test(sealed));
    assert.ok(sealed !== (await cipher.seal(text, senderId, messageId))); // each has a nonce of its own
    assert.equal(await cipher.open(sealed, senderId, messageId), text);
  }
});

test("with the nonce of a vector the content is that of the vector", async () => {
  const random = crypto.getRandomValues;
  try {
    for (const { key, roomId, senderId, messageId, nonce, content, text } of VECTORS) {
      const bytes = Uint8Array.from(nonce.match(/../g) ?? [], (digits) => parseInt(digits, 16));
      crypto.getRandomValues = (array) => {
        /** @type {Uint8Array} */ (/** @type {unknown} */ (array)).set(bytes);
        return array;
      };
      assert.equal(await new RoomCipher(key, roomId).seal(text, senderId, messageId), content);
    }
  } finally {
    crypto.getRandomValues = random;
  }
});

test("what belongs to something else cannot be opened", async () => {
  const { key, roomId, senderId, messageId, content } = FIRST;
  const cipher = new RoomCipher(key, roomId);
  const changed = `${content.slice(0, 99)}${content[99] === "A" ? "B" : "A"}${content.slice(100)}`;
  for (const opened of [
    new RoomCipher(VECTORS[1].key, roomId).open(content, senderId, messageId),
    new RoomCipher(key, OTHER).open(content, senderId, messageId),
    cipher.open(content, OTHER, messageId),
    cipher.open(content, senderId, OTHER),
    cipher.open(changed, senderId, messageId),
    cipher.open(content.slice(1), senderId, messageId),
    cipher.open(` ${content}`, senderId, messageId),
    cipher.open("hello", senderId, messageId),
    cipher.open("", senderId, messageId),
    cipher.open("é".repeat(379), senderId, messageId),
  ]) {
    assert.equal(await opened, null);
  }
  assert.ok((await cipher.open(`${content}=`, senderId, messageId)) !== null); // padding of base64 may be there
});

test("half a key is told", async () => {
  for (const key of ["", "x", FIRST.key.slice(1), `${FIRST.key}A`, ` ${FIRST.key}`]) {
    const cipher = new RoomCipher(key, FIRST.roomId);
    assert.equal(await cipher.open(FIRST.content, FIRST.senderId, FIRST.messageId), null);
    const problem = await cipher.seal("a", FIRST.senderId, FIRST.messageId).catch((error) => error);
    assert.ok(problem instanceof KeyMissing);
  }
});

test("the longest text fits", () => {
  assert.deepEqual([378, 379, 719, 720, 4096, 16_384].map(longestText), [0, 252, 252, 508, 2044, 8188]);
});
