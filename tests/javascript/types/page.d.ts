// What the parts of the page and the modules for signing in give each other. docs/reference/sign-in-modules.md describes the modules.

declare namespace Page {
  /** The account that is signed in, as stored in the browser. */
  interface Account extends Protocol.SessionAnswer {
    provider: string;
  }

  /** A text with a form for each plural category that its language has. */
  type Plural = { other: string; [category: string]: string };

  /** The texts of a language, by section and name. */
  type Texts = { [section: string]: { [name: string]: string | Plural } };

  type English = typeof import("../../../transports/evanesce_transports/quart/static/locales/en.js").default;

  /** The key of a text: its section and its name. */
  type TextKey = { [Section in keyof English]: `${Section}.${keyof English[Section] & string}` }[keyof English];

  type RoomSecrets = import("../../../transports/evanesce_transports/quart/static/client/index.js").RoomSecrets;

  /** What the page and this browser have for the user alone. */
  interface Private {
    keys: import("../../../transports/evanesce_transports/quart/static/room-key.js").RoomKeys;
    names: import("../../../transports/evanesce_transports/quart/static/nicknames.js").Nicknames;
    alerts: import("../../../transports/evanesce_transports/quart/static/alert-settings.js").AlertSettings;
    unread: import("../../../transports/evanesce_transports/quart/static/unread.js").Unread;
  }

  type Ask = <Method extends Protocol.Method, Path extends string>(
    method: Method,
    path: Path,
    body?: object,
  ) => Promise<Protocol.Answer<`${Method} ${Path}`>>;

  /** Do `work` with `button` disabled, and show an error of it in `problem`. */
  type Attempt = (button: HTMLButtonElement, problem: HTMLElement, work: () => unknown) => Promise<void>;

  /** What the parts of the page call. */
  interface Actions {
    attempt: Attempt;
    /** Go to a path of this server. */
    go(path: string): void;
    /** Show the section of the address. `isNew`: at the start page, with a first room. */
    open(isNew?: boolean): void;
    /** Renew the token, now and later. */
    keepFresh(): void;
    /** Show that the user is signed out. */
    signedOut(): void;
    /** Return a signal that closes the dialogs which are open now. */
    dialogs(): AbortSignal;
  }

  /** What the page passes to a sign-in module. */
  interface Host {
    signal: AbortSignal;
    language: string;
    /** The name to offer in a form; undefined: there is none. */
    name: string | undefined;
    ask: Ask;
    friendly(error: unknown): string;
    Problem: new (message: string) => Error;
    attempt: Attempt;
    account(): Account | null;
    address(): string;
    update(answer: Protocol.SessionAnswer): void;
    signedIn(answer: Protocol.SessionAnswer, options?: { isNew?: boolean }): void;
  }

  type Text = string | null | undefined;

  /** The default export of a sign-in module. */
  interface SignInModule {
    signIn(place: HTMLElement, host: Host): void | Promise<void>;
    account?(place: HTMLElement, host: Host): void | Promise<void>;
    reminder?(host: Host): Text | Promise<Text>;
    leaving?(host: Host): Text | Promise<Text>;
    forgetting?(host: Host): Text | Promise<Text>;
    forgotten?(): void | Promise<void>;
  }

  /** The name, the arguments and the result of a function that a sign-in module may have. */
  type OptionalFunction = Exclude<keyof SignInModule, "signIn">;
  type Arguments<Name extends OptionalFunction> = Parameters<Required<SignInModule>[Name]>;
  type Result<Name extends OptionalFunction> = ReturnType<Required<SignInModule>[Name]>;
  type ModuleWith<Name extends OptionalFunction> = { [name in Name]?: (...args: Arguments<Name>) => Result<Name> };

  /** A sign-in method; `module` is an address. */
  interface SignInMethod {
    provider: string;
    module: string;
  }
}
