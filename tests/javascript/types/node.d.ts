// What the unit tests use of Node. Its own types are not used here: they would change those of the browser's timers.

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
