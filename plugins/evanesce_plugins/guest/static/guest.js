// The sign-in module of guests: a form that asks for a name.

/** @typedef {{ name: string, button: string, leaving: string }} Texts */

/** @type {Readonly<Record<string, Texts>>} */
export const TEXTS = Object.freeze({
  en: {
    name: "Your name",
    button: "Continue as a guest",
    leaving: "Nobody can sign in to the account of a guest again: its name and its rooms are lost to you.",
  },
  de: {
    name: "Dein Name",
    button: "Als Gast weiter",
    leaving:
      "Niemand kann sich wieder bei einem Gastkonto anmelden: Sein Name und seine Räume sind dann für dich verloren.",
  },
  ar: {
    name: "اسمك",
    button: "المتابعة كضيف",
    leaving: "لا يمكن لأحد تسجيل الدخول مرة أخرى إلى حساب ضيف: ستفقد اسمه وغرفه.",
  },
});

/**
 * Return the texts in the language of the page.
 *
 * @param {Page.Host} host
 */
function textsFor(host) {
  return TEXTS[host.language] ?? TEXTS.en;
}

/** @type {Page.SignInModule["signIn"]} */
function signIn(place, host) {
  const texts = textsFor(host);
  const form = document.createElement("form");
  form.autocomplete = "off";
  const label = document.createElement("label");
  label.htmlFor = "sign-in-name";
  label.textContent = texts.name;
  const name = document.createElement("input");
  Object.assign(name, {
    id: "sign-in-name",
    name: "name",
    value: host.name ?? "",
    required: true,
    maxLength: 64,
    dir: "auto",
    autocomplete: "nickname",
  });
  name.enterKeyHint = "go";
  const button = document.createElement("button");
  button.textContent = texts.button;
  const problem = document.createElement("p");
  problem.className = "problem";
  problem.setAttribute("role", "alert");
  problem.hidden = true;
  form.append(label, name, button, problem);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    host.attempt(button, problem, async () => {
      const answer = await host.ask("POST", "/session", { provider: "guest", displayName: name.value });
      host.signedIn(answer, { isNew: true });
    });
  });
  place.append(form);
}

/**
 * Return the warning before a guest signs out.
 *
 * @type {Required<Page.SignInModule>["leaving"]}
 */
function leaving(host) {
  return textsFor(host).leaving;
}

export default { signIn, leaving };
