// What the unit tests use of Node, and their data. Its own types are not used here: they would change those of the browser's timers.

declare module "node:test" {
  export function test(name: string, body: () => void | Promise<void>): void;
}

declare module "node:assert/strict" {
  const assert: {
    equal(actual: unknown, expected: unknown, message?: string): void;
    deepEqual(actual: unknown, expected: unknown): void;
    ok(value: unknown): void;
    throws(body: () => unknown, expected: unknown): void;
  };
  export default assert;
}

/** The vectors of tests/data/room_encryption.json, which the test in Python turns into a module. */
declare module "#data/room-encryption.js" {
  export const VECTORS: Record<"key" | "roomId" | "senderId" | "messageId" | "nonce" | "text" | "content", string>[];
}
