// Stands in for IDKit where a test plays World App: `globalThis.worldApp` is the test's. It fails as IDKit does, by texts.

globalThis.IDKit = (() => {
  /**
   * @param {string} call
   * @param {Record<string, unknown>} what
   */
  async function asked(call, what) {
    const answer = await globalThis.worldApp({ call, ...what });
    if (answer.throws) throw answer.throws;
    return answer;
  }

  class Request {
    /** @param {WorldAppAnswer} answer */
    constructor({ id, connectorURI = "" }) {
      this.id = id;
      this.connectorURI = connectorURI;
    }

    pollOnce() {
      return asked("poll", { id: this.id });
    }

    /** @type {IDKit.Request["pollUntilCompletion"]} */
    async pollUntilCompletion({ timeout, signal }) {
      const { type, result, error } = await asked("completion", {
        id: this.id,
        timeout,
        cancellable: signal instanceof AbortSignal,
      });
      return type === "confirmed" ? { success: true, result } : { success: false, error: error ?? "" };
    }
  }

  /**
   * @param {string} kind
   * @param {object} config
   * @returns {IDKit.Builder}
   */
  function builder(kind, config) {
    /** @type {(by: string, human: object) => Promise<Request>} */
    const made = async (by, human) => new Request(await asked("make", { kind, config, by, human }));
    return { constraints: (human) => made("constraints", human), preset: (preset) => made("preset", preset) };
  }

  /** @type {IDKit.Library} */
  const library = {
    request: (config) => builder("sign_up", config),
    createSession: (config) => builder("create_session", config),
    proveSession: (sessionId, config) => builder("sign_in", { ...config, sessionId }),
    CredentialRequest: (type, { signal }) => ({ type, signal }),
    proofOfHuman: ({ signal }) => ({ type: "ProofOfHuman", signal }),
    orbLegacy: ({ signal }) => ({ type: "OrbLegacy", signal }),
  };
  return library;
})();
