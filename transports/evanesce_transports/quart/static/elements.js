// The elements of index.html. No other module looks elements of the page up, or knows their ids.

/**
 * Return the element with this id. Throws `TypeError` where there is none of this type.
 *
 * @template {HTMLElement} Type
 * @param {string} id
 * @param {new () => Type} type
 */
function find(id, type) {
  const element = document.getElementById(id);
  if (!(element instanceof type)) throw new TypeError(`The page has no ${type.name} with the id ${id}`);
  return element;
}

/** Return the page's elements, by the part of the page that uses them. Throws `TypeError` where one is missing. */
export function findElements() {
  return {
    sections: {
      signIn: find("sign-in", HTMLElement),
      home: find("home", HTMLElement),
      stopped: find("stopped", HTMLElement),
      room: find("room", HTMLElement),
    },
    loading: find("loading", HTMLElement),
    banner: {
      element: find("banner", HTMLElement),
      text: find("banner-text", HTMLElement),
      retry: find("banner-retry", HTMLButtonElement),
    },
    stopped: {
      title: find("stopped-title", HTMLElement),
      text: find("stopped-text", HTMLElement),
      retry: find("stopped-retry", HTMLButtonElement),
    },
    signIn: {
      reason: find("sign-in-reason", HTMLElement),
      methods: find("sign-in-methods", HTMLElement),
    },
    home: {
      create: find("home-create", HTMLButtonElement),
      problem: find("home-problem", HTMLElement),
      rooms: find("home-rooms", HTMLElement),
      more: find("home-more", HTMLButtonElement),
    },
    room: {
      share: find("room-share", HTMLButtonElement),
      close: find("room-close", HTMLButtonElement),
      leave: find("room-leave", HTMLButtonElement),
      typing: find("typing", HTMLElement),
      messageTtl: find("message-ttl", HTMLElement),
    },
    timeline: {
      scroll: find("scroll", HTMLElement),
      empty: find("empty", HTMLElement),
      messages: find("messages", HTMLElement),
      pending: find("pending", HTMLElement),
    },
    composer: {
      form: find("composer", HTMLFormElement),
      text: find("composer-text", HTMLTextAreaElement),
      send: find("composer-send", HTMLButtonElement),
      problem: find("composer-problem", HTMLElement),
    },
    members: {
      dialog: find("members", HTMLDialogElement),
      open: find("members-open", HTMLButtonElement),
      count: find("members-count", HTMLElement),
      list: find("members-list", HTMLElement),
    },
    share: {
      dialog: find("share", HTMLDialogElement),
      link: find("share-link", HTMLInputElement),
    },
    account: {
      dialog: find("account", HTMLDialogElement),
      open: find("account-open", HTMLButtonElement),
      label: find("account-label", HTMLElement),
      form: find("account-form", HTMLFormElement),
      name: find("account-name", HTMLInputElement),
      provider: find("account-provider", HTMLElement),
      problem: find("account-problem", HTMLElement),
      signOut: find("sign-out", HTMLButtonElement),
      delete: find("delete-account", HTMLButtonElement),
    },
    reminder: {
      element: find("reminder", HTMLElement),
      text: find("reminder-text", HTMLElement),
      open: find("reminder-open", HTMLButtonElement),
      later: find("reminder-later", HTMLButtonElement),
    },
    confirm: {
      dialog: find("confirm", HTMLDialogElement),
      title: find("confirm-title", HTMLElement),
      text: find("confirm-text", HTMLElement),
      yes: find("confirm-yes", HTMLButtonElement),
    },
  };
}

/** @typedef {ReturnType<typeof findElements>} Elements */

/**
 * Focus the first field of a form that a sign-in module has drawn into `place`.
 *
 * @param {HTMLElement} place
 */
export function focusFirstField(place) {
  place.querySelector("input")?.focus();
}
