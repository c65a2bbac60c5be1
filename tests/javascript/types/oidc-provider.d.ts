// What `issuer.js` uses of the package oidc-provider, which has no types of its own.

declare module "oidc-provider" {
  interface Configuration {
    findAccount(context: unknown, id: string): object;
    [name: string]: unknown;
  }

  export class Provider {
    constructor(issuer: string, configuration: Configuration);
    callback(): (...request: any[]) => void;
  }
}
