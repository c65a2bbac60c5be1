// A module that uses all that a module may. It counts in `window` how often its places were taken away.

const DONE = "scripted.done";

function button(place, text, pressed) {
  const element = document.createElement("button");
  element.type = "button";
  element.textContent = text;
  element.addEventListener("click", pressed);
  place.append(element);
  return element;
}

function signIn(place, host) {
  host.signal.addEventListener("abort", () => (window.taken = (window.taken ?? 0) + 1));
  const problem = document.createElement("p");
  problem.className = "problem scripted";
  const session = (name) => host.ask("POST", "/session", { provider: "scripted", name });
  const add = (text, work) => button(place, text, (event) => host.attempt(event.currentTarget, problem, work));
  add("Sign in as Ada", async () => host.signedIn(await session("Ada")));
  add("Refuse", () => session(""));
  add("Fail", () => {
    throw new host.Problem("Not like that.");
  });
  add("Two steps", async () => {
    host.update(await session("Eve"));
    add(`Second step of ${host.account().displayName}`, async () => host.signedIn(await session("Eve")));
  });
  add("Too late", async () => {
    const answer = await session("Late");
    window.tooLate = () => host.signedIn(answer);
    place.append("Held back.");
  });
  place.append(problem);
}

function account(place, host) {
  const { provider, displayName } = host.account();
  place.append(`${displayName} of ${provider}`);
  button(place, "The last step", (event) => {
    localStorage.setItem(DONE, "yes");
    event.currentTarget.remove();
  });
}

export default {
  signIn,
  account,
  reminder: () => (localStorage.getItem(DONE) ? null : "There is one more step."),
  leaving: async () => (localStorage.getItem(DONE) ? "" : "You could not come back."),
  forgetting: () => "Nor could you come back after this.",
  forgotten: () => localStorage.removeItem(DONE),
};
