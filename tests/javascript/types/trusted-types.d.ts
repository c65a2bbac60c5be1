// The part of Trusted Types that the pages use, which TypeScript does not declare. Some browsers have none of it.

interface TrustedScriptURL {
  toString(): string;
}

interface TrustedTypePolicy {
  createScriptURL(address: string): TrustedScriptURL;
}

declare var trustedTypes:
  { createPolicy(name: string, rules: { createScriptURL(address: string): string }): TrustedTypePolicy } | undefined;
