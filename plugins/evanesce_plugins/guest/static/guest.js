// The sign-in module of guests: a form that asks for a name.

/** @type {Readonly<Record<string, { name: string, button: string }>>} */
const TEXTS = Object.freeze({
  en: { name: "Your name", button: "Continue as a guest" },
  de: { name: "Dein Name", button: "Als Gast weiter" },
  ar: { name: "اسمك", button: "المتابعة كضيف" },
});

/** @type {Page.SignInModule["signIn"]} */
function signIn(place, host) {
  const texts = TEXTS[host.language] ?? TEXTS.en;
  const form = document.createElement("form");
  form.autocomplete = "off";
  const label = document.createElement("label");
  label.htmlFor = "sign-in-name";
  label.textContent = texts.name;
  const name = document.createElement("input");
  Object.assign(name, {
    id: "sign-in-name",
    name: "name",
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

/** Return the warning before a guest signs out. */
function leaving() {
  return "Nobody can sign in to the account of a guest again: its name and its rooms are lost to you.";
}

export default { signIn, leaving };
