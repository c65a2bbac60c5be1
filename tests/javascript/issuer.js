// An issuer of OpenID Connect for tests of the page: `node issuer.js PORT PUBLIC_URL`, with the public address of the server. It
// writes a line when it listens, and ends with its input. Everybody is whom they say they are.

import { generateKeyPairSync, randomUUID } from "node:crypto";
import { createServer } from "node:http";
import process from "node:process";

import { Provider } from "oidc-provider";

const [port, publicUrl] = process.argv.slice(2);
const issuer = `http://127.0.0.1:${port}`;
const redirect = { redirect_uris: [`${publicUrl}/oidc/callback`], grant_types: ["authorization_code"] };

/**
 * Return a new private key for an algorithm.
 *
 * @param {string} alg
 * @param {import("node:crypto").KeyPairKeyObjectResult} pair
 */
function key(alg, { privateKey }) {
  return { ...privateKey.export({ format: "jwk" }), alg, use: "sig", kid: randomUUID() };
}

const provider = new Provider(issuer, {
  clients: [
    { ...redirect, client_id: "public", token_endpoint_auth_method: "none" },
    {
      ...redirect,
      client_id: "confidential",
      client_secret: "secret-of:the/client+100%",
      id_token_signed_response_alg: "ES256",
    },
  ],
  jwks: {
    keys: [
      key("RS256", generateKeyPairSync("rsa", { modulusLength: 2048 })),
      key("ES256", generateKeyPairSync("ec", { namedCurve: "P-256" })),
    ],
  },
  cookies: { keys: [randomUUID()] },
  claims: { openid: ["sub"], profile: ["name"] },
  conformIdTokenClaims: false,
  enabledJWA: { idTokenSigningAlgValues: ["RS256", "ES256"] },
  findAccount: (context, id) => ({ accountId: id, claims: () => ({ sub: id, name: `${id} of the issuer` }) }),
});
createServer(provider.callback()).listen(Number(port), "127.0.0.1", () => process.stdout.write(`${issuer}\n`));
process.stdin.resume().on("end", () => process.exit(0));
