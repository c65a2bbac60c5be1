// What the modules of the plugin passkey receive.

declare namespace Passkey {
  /** `page.json` of the plugin. */
  interface Configuration {
    origin: string;
  }

  /** A key that is known, in the options of a ceremony. */
  interface Descriptor {
    type: "public-key";
    id: string;
  }

  /** The server's answer to a request for a challenge. `publicKey` has base64url for bytes. */
  interface Challenge {
    challengeId: string;
    publicKey: {
      challenge: string;
      rp: { id: string; name: string };
      pubKeyCredParams: PublicKeyCredentialParameters[];
      user: { id: string; name: string; displayName: string };
      excludeCredentials?: Descriptor[];
      allowCredentials?: Descriptor[];
    };
  }

  interface Device {
    deviceId: string;
    name: string;
    added: string;
    lastUsed: string;
    current: boolean;
  }

  /** The answer of `GET /passkey/devices`. */
  interface Devices {
    devices: Device[];
    recoveryCodesLeft: number;
  }

  /** The answer of `POST /passkey/recovery-codes`. */
  interface RecoveryCodes {
    recoveryCodes: string[];
  }

  /** What browsers say of the device. */
  interface Navigator {
    userAgentData?: { platform: string };
    platform?: string;
  }
}
