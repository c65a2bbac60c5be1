// The part of World's library IDKit that the plugin `worldid` uses, with the names of @worldcoin/idkit-core 4.3.0.

declare namespace IDKit {
  /** The options of a request. */
  interface Options {
    app_id: string;
    rp_context: RpContext;
    environment: string;
    bridge_url: string | undefined;
    override_connect_base_url: string | undefined;
  }

  interface RpContext {
    rp_id: string;
    nonce: string;
    /** Seconds since 1970. */
    created_at: number;
    /** Seconds since 1970. */
    expires_at: number;
    signature: string;
  }

  /** A proof, which is sent to the server unchanged. */
  interface Proof {
    session_id?: string;
  }

  type Completion = { success: true; result: Proof } | { success: false; error: string };

  type Status =
    | { type: "waiting_for_connection" | "awaiting_confirmation"; result?: undefined; error?: undefined }
    | { type: "confirmed"; result: Proof; error?: undefined }
    | { type: "failed"; result?: undefined; error: string };

  interface Request {
    /** The address that World App opens; "" within World App. */
    connectorURI: string;
    pollOnce(): Promise<Status>;
    pollUntilCompletion(options: { timeout: number; signal: AbortSignal }): Promise<Completion>;
  }

  /** What a user has to prove, and a preset of it: opaque values. */
  type Constraint = object;
  type Preset = object;

  interface Builder {
    constraints(constraint: Constraint): Promise<Request>;
    preset(preset: Preset): Promise<Request>;
  }

  interface Library {
    request(options: Options & { action: string; allow_legacy_proofs: boolean }): Builder;
    createSession(options: Options): Builder;
    proveSession(sessionId: string, options: Options): Builder;
    CredentialRequest(type: string, options: { signal: string }): Constraint;
    proofOfHuman(options: { signal: string }): Preset;
    orbLegacy(options: { signal: string }): Preset;
  }
}

declare var IDKit: IDKit.Library | undefined;

// What the server sends to the plugin's modules.

declare namespace WorldId {
  /** `page.json`. `idkit` is the address of the library, absent where the server has none for this page. */
  interface Config {
    publicUrl: string;
    legacyProofs: boolean;
    idkit?: string;
    bridgeUrl?: string;
    connectUrl?: string;
  }

  interface ReadyConfig extends Config {
    idkit: string;
  }

  interface Challenge {
    challengeId: string;
    appId: string;
    environment: string;
    signal: string;
    rpContext: IDKit.RpContext;
  }

  interface SignUpChallenge extends Challenge {
    sessionContext: IDKit.RpContext;
    action: string;
    legacyProofs: boolean;
  }

  interface SignInChallenge extends Challenge {
    sessionId: string;
  }

  /** The fields of a credential for `sign_up` beside the proofs. */
  interface SignUpFields {
    displayName?: string;
    newAccount?: boolean;
  }

  interface Proofs {
    result: IDKit.Proof;
    session?: IDKit.Proof;
  }
}
