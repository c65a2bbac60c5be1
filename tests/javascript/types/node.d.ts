// What the unit tests and the driver of the client use of Node, and the data of the tests. Node's own types are not used here:
// they would change those of the browser's timers.

declare module "node:test" {
  export function test(name: string, body: () => void | Promise<void>): void;
}

declare module "node:assert/strict" {
  const assert: {
    equal(actual: unknown, expected: unknown, message?: string): void;
    deepEqual(actual: unknown, expected: unknown, message?: string): void;
    ok(value: unknown, message?: string): void;
    throws(body: () => unknown, expected: unknown): void;
  };
  export default assert;
}

declare module "node:process" {
  const process: {
    argv: string[];
    stdin: AsyncIterable<Uint8Array>;
    stdout: { write(text: string): void };
    exit(): never;
  };
  export default process;
}

declare module "node:readline" {
  export function createInterface(options: { input: AsyncIterable<Uint8Array> }): AsyncIterable<string>;
}

/** The vectors of tests/data/room_encryption.json, which the test in Python turns into a module. */
declare module "#data/room-encryption.js" {
  export const VECTORS: Record<"key" | "roomId" | "senderId" | "messageId" | "nonce" | "text" | "content", string>[];
}
