// What this browser remembers of World ID: whose account was used last, and whether it can be signed in to again.

const KEY = "evanesce.worldid";

let memory = null; // {userId, finished}, or null: as this page knows it, where storage is forbidden

function read() {
  try {
    return JSON.parse(localStorage.getItem(KEY));
  } catch {
    return memory; // storage is forbidden, or holds something else
  }
}

/** Give the id of the account that was used last here; undefined: none was, or it was erased. */
export function lastAccount() {
  return read()?.userId;
}

/** Whether an account is known to have a World ID session, by which it can be signed in to again. */
export function finished(userId) {
  const last = read();
  return last?.userId === userId && last.finished === true;
}

export function remember(userId, isFinished) {
  keep({ userId, finished: isFinished });
}

export function forget() {
  keep(null);
}

function keep(changed) {
  memory = changed;
  try {
    if (memory) localStorage.setItem(KEY, JSON.stringify(memory));
    else localStorage.removeItem(KEY);
  } catch {
    // Storage is forbidden: it is remembered as long as this page lasts.
  }
}
