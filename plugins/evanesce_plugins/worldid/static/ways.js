// The two ways on the sign-in card: for who is new here, and for who has an account.

import { button, element, field, problem } from "./elements.js";
import { lastAccount, remember, finished } from "./memory.js";
import { attempt, finish, prove } from "./prove.js";
import { View } from "./view.js";

const UUID = /[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/i;

export class Ways {
  #place;
  #host;
  #config;
  #problem = problem();
  #start = element("div");
  #ways = new Map(); // name → {form, choice}

  constructor(place, host, config) {
    this.#place = place;
    this.#host = host;
    this.#config = config;
    const linked = linkedAccount();
    this.#add("new", "New here", this.#signUpForm());
    this.#add("known", "I have an account", this.#signInForm(linked ?? lastAccount() ?? ""));
    const choices = [...this.#ways.values()].map(({ choice }) => choice);
    const forms = [...this.#ways.values()].map(({ form }) => form);
    this.#start.append(
      element("h2", { id: "worldid-title" }, "With World ID"),
      element("p", { className: "worldid-hint" }, "World App shows that you are one human, and not which one."),
      element("div", { className: "worldid-choice", role: "group", "aria-labelledby": "worldid-title" }, ...choices),
      ...forms,
    );
    place.append(this.#start, this.#problem);
    this.#choose((linked ?? lastAccount()) ? "known" : "new");
    if (linked) this.#ways.get("known").form.querySelector("button").focus();
  }

  #add(name, label, form) {
    const choose = () => {
      this.#problem.hidden = true;
      this.#choose(name);
    };
    this.#ways.set(name, { form, choice: button(label, choose, "quiet") });
  }

  #choose(name) {
    for (const [other, { form, choice }] of this.#ways) {
      form.hidden = other !== name;
      choice.setAttribute("aria-pressed", String(other === name));
    }
  }

  #signUpForm() {
    const [label, name] = field("Your name", {
      id: "worldid-name",
      required: true,
      maxLength: 64,
      dir: "auto",
      autocomplete: "nickname",
      enterKeyHint: "go",
    });
    const isNew = element("input", { id: "worldid-new", type: "checkbox" });
    const said = element("label", { className: "worldid-said" }, isNew, "I have no account here yet, from an older World App either.");
    return this.#form("Sign up with World ID", [label, name, ...(this.#config.legacyProofs ? [said] : [])], () =>
      this.#signUp(name.value, isNew.checked),
    );
  }

  #signInForm(userId) {
    const [label, code] = field("Account code", {
      id: "worldid-code",
      value: userId,
      required: true,
      spellcheck: false,
      autocomplete: "off",
      autocapitalize: "off",
      enterKeyHint: "go",
      "aria-describedby": "worldid-code-hint",
    });
    const where = "It stands under your name, at the top of the page, wherever you are signed in.";
    const hint = element("p", { id: "worldid-code-hint", className: "worldid-hint" }, where);
    return this.#form("Sign in with World ID", [label, code, hint], () => this.#signIn(code.value));
  }

  #form(label, children, work) {
    const submit = element("button", { type: "submit" }, label);
    const form = element("form", { autocomplete: "off" }, ...children, submit);
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#attempt(submit, work);
    });
    return form;
  }

  #attempt(pressed, work) {
    attempt(this.#host, pressed, this.#problem, work, (code) => {
      if (code === "nullifier_replayed") this.#choose("known");
    });
  }

  /** Show what `work` is waiting for in place of the forms. */
  async #waiting(heading, work) {
    this.#start.hidden = true;
    this.#place.classList.add("busy");
    const view = new View(this.#place, this.#host.signal, heading);
    try {
      return await work(view);
    } finally {
      view.remove();
      this.#start.hidden = false;
      this.#place.classList.toggle("busy", this.#host.account() !== null); // nobody who has come in comes in another way
      this.#start.querySelector("form:not([hidden]) input")?.focus();
    }
  }

  async #signUp(displayName, isNew) {
    const more = isNew ? { displayName, newAccount: true } : { displayName };
    const answer = await this.#waiting("Step 1 of 2: show that you are a human.", (view) =>
      prove(this.#host, this.#config, view, "sign_up", {}, more),
    );
    remember(answer.userId, finished(answer.userId));
    this.#host.update(answer);
    this.#start.replaceChildren(
      element("p", {}, "You have an account now. One more confirmation is left, so that you can sign in again later."),
      element(
        "div",
        { className: "row" },
        button("Confirm once more", (event) => this.#attempt(event.currentTarget, () => this.#finish())),
        button("Later", () => this.#host.signedIn(this.#host.account()), "quiet"),
      ),
    );
    await this.#finish();
  }

  async #finish() {
    await this.#waiting("Step 2 of 2: confirm once more, so that you can sign in again later.", (view) =>
      finish(this.#host, this.#config, view),
    );
    this.#host.signedIn(this.#host.account());
  }

  async #signIn(text) {
    const userId = UUID.exec(text)?.[0].toLowerCase();
    if (userId === undefined) {
      throw new this.#host.Problem("This is no account code. One looks like 01234567-89ab-cdef-0123-456789abcdef.");
    }
    const answer = await this.#waiting(undefined, (view) => prove(this.#host, this.#config, view, "sign_in", { userId }));
    remember(userId, true);
    this.#host.signedIn(answer);
  }
}

/** Give the account that a link from another device names, and take it out of the address. A fragment reaches no server. */
function linkedAccount() {
  const [, userId] = /^#account=([0-9a-f-]{36})$/i.exec(location.hash) ?? [];
  if (userId !== undefined) history.replaceState(history.state, "", location.pathname + location.search);
  return userId;
}
