// What the tests add to the global object of the page.

/** The answer of World App, simulated by a test; `throws` is what IDKit throws. */
type WorldAppAnswer = IDKit.Status & { id: string; connectorURI?: string; throws?: unknown };

/** World App, simulated by a test. It gets each call to IDKit. */
declare var worldApp: (call: { call: string } & Record<string, unknown>) => Promise<WorldAppAnswer>;

interface Window {
  /** How often a place of the module `scripted.js` was removed. */
  taken?: number;
  /** Signs in after the place was removed. */
  tooLate?: () => void;
}
