// The sign-in module of guests: a form that asks for a name.

/** @type {Page.SignInModule["signIn"]} */
function signIn(place, host) {
  const form = document.createElement("form");
  form.autocomplete = "off";
  const label = document.createElement("label");
  label.htmlFor = "sign-in-name";
  label.textContent = "Your name";
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
  button.textContent = "Continue as a guest";
  const problem = document.createElement("p");
  problem.className = "problem";
  problem.setAttribute("role", "alert");
  problem.hidden = true;
  form.append(label, name, button, problem);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    host.attempt(button, problem, async () => {
      host.signedIn(await host.ask("POST", "/session", { provider: "guest", displayName: name.value }));
    });
  });
  place.append(form);
}

export default { signIn };
