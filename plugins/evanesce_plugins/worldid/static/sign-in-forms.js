// The two forms in the sign-in section: to sign up, and to sign in to an account. Only this module gives ids to elements.

import { formatAccountCode, parseAccountCode } from "./account-code.js";
import { ConfirmationView } from "./confirmation-view.js";
import { button, element, field, hint, problem } from "./elements.js";
import { attempt } from "./failures.js";
import { Proofs } from "./proofs.js";
import { textsFor } from "./texts.js";

/** @typedef {"signUp" | "signIn"} Name */

/** @typedef {{ form: HTMLFormElement, input: HTMLInputElement, submit: HTMLButtonElement }} Form */

export class SignInForms {
  #place;
  #host;
  #texts;
  #config;
  #memory;
  #proofs;
  #problem = problem();
  #start = element("div");
  #forms;
  #choices;
  /** @type {Name} */
  #shown = "signUp";

  /**
   * Append the forms to `place`.
   *
   * @param {HTMLElement} place
   * @param {Page.Host} host
   * @param {WorldId.ReadyConfig} config
   * @param {import("./resources.js").Resources} resources
   * @param {import("./account-memory.js").AccountMemory} memory
   */
  constructor(place, host, config, resources, memory) {
    this.#place = place;
    this.#host = host;
    this.#texts = textsFor(host);
    this.#config = config;
    this.#memory = memory;
    this.#proofs = new Proofs(host, config, resources);
    const linked = takeLinkedCode();
    const code = linked ?? memory.lastCode();
    this.#forms = { signUp: this.#signUpForm(), signIn: this.#signInForm(code) };
    this.#choices = {
      signUp: this.#choice(this.#texts.isNew, "signUp"),
      signIn: this.#choice(this.#texts.isKnown, "signIn"),
    };
    this.#show(code === undefined ? "signUp" : "signIn");
    const choices = { className: "worldid-choice", role: "group", "aria-labelledby": "worldid-title" };
    this.#start.append(
      element("h2", { id: "worldid-title" }, this.#texts.title),
      hint(this.#texts.explanation),
      element("div", choices, ...Object.values(this.#choices)),
      ...Object.values(this.#forms).map(({ form }) => form),
    );
    place.append(this.#start, this.#problem);
    if (linked) this.#forms.signIn.submit.focus();
  }

  /**
   * @param {string} label
   * @param {Name} name
   */
  #choice(label, name) {
    const choose = () => {
      this.#problem.hidden = true;
      this.#show(name);
    };
    return button(label, choose, "quiet");
  }

  /**
   * Show one of the forms.
   *
   * @param {Name} shown
   */
  #show(shown) {
    for (const name of /** @type {const} */ (["signUp", "signIn"])) {
      this.#forms[name].form.hidden = name !== shown;
      this.#choices[name].setAttribute("aria-pressed", String(name === shown));
    }
    this.#shown = shown;
  }

  #signUpForm() {
    const [label, name] = field(this.#texts.name, {
      id: "worldid-name",
      value: this.#host.name ?? "",
      required: true,
      maxLength: 64,
      dir: "auto",
      autocomplete: "nickname",
      enterKeyHint: "go",
    });
    const isNew = element("input", { id: "worldid-new", type: "checkbox" });
    const checkbox = element("label", { className: "worldid-checkbox" }, isNew, this.#texts.noAccount);
    const children = this.#config.legacyProofs ? [label, name, checkbox] : [label, name];
    return this.#form(this.#texts.signUp, name, children, () => this.#signUp(name.value, isNew.checked));
  }

  /** @param {string | undefined} known */
  #signInForm(known) {
    const [label, code] = field(this.#texts.code, {
      id: "worldid-code",
      value: known === undefined ? "" : formatAccountCode(known),
      required: true,
      spellcheck: false,
      autocomplete: "off",
      autocapitalize: "off",
      enterKeyHint: "go",
      "aria-describedby": "worldid-code-hint",
    });
    const where = hint(this.#texts.codeHint);
    where.id = "worldid-code-hint";
    return this.#form(this.#texts.signIn, code, [label, code, where], () => this.#signIn(code.value));
  }

  /**
   * @param {string} label of the button
   * @param {HTMLInputElement} input the first one
   * @param {HTMLElement[]} children
   * @param {() => Promise<void>} work
   * @returns {Form}
   */
  #form(label, input, children, work) {
    const submit = element("button", { type: "submit" }, label);
    const form = element("form", { autocomplete: "off" }, ...children, submit);
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      attempt(this.#host, submit, this.#problem, work, (code) => {
        if (code === "nullifier_replayed") this.#show("signIn");
      });
    });
    return { form, input, submit };
  }

  /**
   * @param {string} displayName
   * @param {boolean} isNew whether the user says to have no account here yet
   */
  async #signUp(displayName, isNew) {
    const fields = isNew ? { displayName, newAccount: true } : { displayName };
    await this.#enter((view) => this.#proofs.signUp(view, fields));
  }

  /** @param {string} text */
  async #signIn(text) {
    const accountCode = parseAccountCode(text);
    if (accountCode === undefined) {
      throw new this.#host.Problem(this.#texts.noCode);
    }
    await this.#enter((view) => this.#proofs.signIn(view, accountCode));
  }

  /** @param {(view: ConfirmationView) => Promise<Protocol.SessionAnswer>} work */
  async #enter(work) {
    const answer = await this.#showWaiting(async (view) => {
      const account = await work(view);
      this.#host.update(account);
      // The browser offers the code after the user has signed out. If it cannot be loaded now, the account dialog loads it.
      await this.#memory
        .currentCode(this.#host)
        .catch((error) => console.warn("The account code cannot be loaded:", error));
      return account;
    });
    this.#host.signedIn(answer);
  }

  /**
   * Show the progress of `work` in place of the forms.
   *
   * @template Result
   * @param {(view: ConfirmationView) => Promise<Result>} work
   */
  async #showWaiting(work) {
    this.#start.hidden = true;
    this.#place.classList.add("busy");
    const view = new ConfirmationView(this.#place, this.#host);
    try {
      return await work(view);
    } finally {
      view.remove();
      this.#start.hidden = false;
      // After a sign-in the other sign-in methods stay hidden.
      this.#place.classList.toggle("busy", this.#host.account() !== null);
      this.#forms[this.#shown].input.focus();
    }
  }
}

/** Return the account code in a link from another device, and remove it from the address; undefined where there is none. */
function takeLinkedCode() {
  const [, text] = /^#account=([\w-]{1,64})$/.exec(location.hash) ?? [];
  if (text === undefined) return undefined;
  history.replaceState(history.state, "", location.pathname + location.search);
  return parseAccountCode(text);
}
