// What the modules of the plugin oidc receive and keep.

declare namespace Oidc {
  /** `page.json` of the plugin. */
  interface Configuration {
    issuer: string;
  }

  /** The server's answer to a request for a challenge. */
  interface Challenge {
    challengeId: string;
    expiresAt: string;
    nonce: string;
    issuer: string;
    clientId: string;
    authorizationEndpoint: string;
    redirectUri: string;
    scope: string;
  }

  /** What the issuer has answered: a code, or the reason for which there is none. */
  interface Answer {
    code: string | null;
    reason: string | null;
  }

  /** A sign-in that is under way. `answer` is there after the return from the issuer. */
  interface Pending {
    state: string;
    verifier: string;
    challengeId: string;
    expiresAt: string;
    returnTo: string;
    answer?: Answer;
  }
}
