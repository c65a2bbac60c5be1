// A sign-in module that uses everything that the page offers. It counts in `window` how often its places were removed.

const DONE = "scripted.done";

/**
 * @param {HTMLElement} place
 * @param {string} text
 * @param {(button: HTMLButtonElement) => void} pressed
 */
function button(place, text, pressed) {
  const element = document.createElement("button");
  element.type = "button";
  element.textContent = text;
  element.addEventListener("click", () => pressed(element));
  place.append(element);
  return element;
}

/** @type {Page.SignInModule["signIn"]} */
function signIn(place, host) {
  host.signal.addEventListener("abort", () => (window.taken = (window.taken ?? 0) + 1));
  const problem = document.createElement("p");
  problem.className = "problem scripted";
  /** @param {string} name */
  const session = (name) => host.ask("POST", "/session", { provider: "scripted", name });
  /** @type {(text: string, work: () => unknown) => HTMLButtonElement} */
  const add = (text, work) => button(place, text, (pressed) => host.attempt(pressed, problem, work));
  add("Sign in as Ada", async () => host.signedIn(await session("Ada")));
  add("Refuse", () => session(""));
  add("Fail", () => {
    throw new host.Problem("Not like that.");
  });
  add("Two steps", async () => {
    host.update(await session("Eve"));
    add(`Second step of ${host.account()?.displayName}`, async () => host.signedIn(await session("Eve")));
  });
  add("Too late", async () => {
    const answer = await session("Late");
    window.tooLate = () => host.signedIn(answer);
    place.append("Held back.");
  });
  place.append(problem);
}

/**
 * @param {HTMLElement} place
 * @param {Page.Host} host
 */
function account(place, host) {
  const { provider, displayName } = /** @type {Page.Account} */ (host.account());
  place.append(`${displayName} of ${provider}`);
  button(place, "The last step", (pressed) => {
    localStorage.setItem(DONE, "yes");
    pressed.remove();
  });
}

/** @type {Page.SignInModule} */
export default {
  signIn,
  account,
  reminder: () => (localStorage.getItem(DONE) ? null : "There is one more step."),
  leaving: async () => (localStorage.getItem(DONE) ? "" : "You could not come back."),
  forgetting: () => "Nor could you come back after this.",
  forgotten: () => localStorage.removeItem(DONE),
};
