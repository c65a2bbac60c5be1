// The elements of index.html. No other module looks elements of the page up, or knows their ids.

import { direction, t } from "./i18n.js";

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
    loading: {
      element: find("loading", HTMLElement),
      title: find("loading-title", HTMLElement),
    },
    bar: {
      word: find("room-title", HTMLElement),
      room: find("room-bar", HTMLElement),
    },
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
    ways: findWays(),
    signIn: {
      demo: find("demo", HTMLElement),
      demoMessages: find("demo-messages", HTMLElement),
      title: find("sign-in-title", HTMLElement),
      reason: find("sign-in-reason", HTMLElement),
      methods: find("sign-in-methods", HTMLElement),
    },
    home: {
      title: find("home-title", HTMLElement),
      create: find("home-create", HTMLButtonElement),
      options: find("home-options", HTMLButtonElement),
      problem: find("home-problem", HTMLElement),
      rooms: find("home-rooms", HTMLElement),
      more: find("home-more", HTMLButtonElement),
    },
    room: {
      share: find("room-share", HTMLButtonElement),
      close: find("room-close", HTMLButtonElement),
      leave: find("room-leave", HTMLButtonElement),
      name: find("room-name", HTMLElement),
      typing: find("typing", HTMLElement),
      messageTtl: find("message-ttl", HTMLElement),
    },
    timeline: {
      empty: find("empty", HTMLElement),
      messages: find("messages", HTMLElement),
      pending: find("pending", HTMLElement),
    },
    scroller: {
      scroll: find("scroll", HTMLElement),
      flow: find("flow", HTMLElement),
      jump: find("jump", HTMLButtonElement),
      jumpText: find("jump-text", HTMLElement),
    },
    tools: {
      settings: find("room-settings", HTMLButtonElement),
      rename: find("room-rename", HTMLButtonElement),
      alerts: find("alerts-open", HTMLButtonElement),
      help: find("help-open", HTMLButtonElement),
      keyBar: find("key-bar", HTMLElement),
      ballots: find("ballots", HTMLElement),
      facts: find("room-facts", HTMLElement),
    },
    sendOptions: {
      replying: find("replying", HTMLElement),
      ttl: find("composer-ttl", HTMLSelectElement),
      ttlShown: find("ttl-shown", HTMLElement),
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
      problem: find("share-problem", HTMLElement),
      panel: sharePanel("dialog-share"),
      emptyPanel: sharePanel("empty-share"),
    },
    account: {
      dialog: find("account", HTMLDialogElement),
      open: find("account-open", HTMLButtonElement),
      label: find("account-label", HTMLElement),
      avatar: find("account-avatar", HTMLElement),
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
    focus: {
      menu: find("room-menu", HTMLElement),
      menuOpen: find("room-menu-open", HTMLButtonElement),
      inOrder: ["composer-text", "home-title", "sign-in-title", "stopped-title", "scroll"].map((id) =>
        find(id, HTMLElement),
      ),
    },
    confirm: {
      dialog: find("confirm", HTMLDialogElement),
      title: find("confirm-title", HTMLElement),
      text: find("confirm-text", HTMLElement),
      yes: find("confirm-yes", HTMLButtonElement),
    },
  };
}

/** Return the modules for signing in, which the server names in the page, in its order. */
function findWays() {
  /** @type {NodeListOf<HTMLMetaElement>} */
  const ways = document.querySelectorAll("meta[data-provider]");
  return [...ways].map(({ content, dataset }) => ({ provider: dataset.provider ?? "", module: content }));
}

/** @typedef {ReturnType<typeof findElements>} Elements */
/** @typedef {ReturnType<typeof sharePanel>} SharePanelElements */

/**
 * Return the parts of one of the panels with which a room is shared.
 *
 * @param {string} id
 */
function sharePanel(id) {
  const panel = find(id, HTMLElement);
  const part = (/** @type {string} */ name) => /** @type {HTMLElement} */ (panel.querySelector(name));
  return {
    code: part(".code"),
    onlyHere: part(".only-here"),
    copy: /** @type {HTMLButtonElement} */ (part(".copy")),
    send: /** @type {HTMLButtonElement} */ (part(".send")),
  };
}

/**
 * Write the texts of index.html in the language of the page: `data-t` is the key of an element's text, `data-t-label` and
 * `data-t-placeholder` are those of its attributes. What has `data-t-else` is for whoever reads the page without them.
 *
 * @param {string} language
 */
export function translate(language) {
  document.documentElement.lang = language;
  document.documentElement.dir = direction(language);
  for (const element of document.querySelectorAll("[data-t-else]")) element.remove();
  const put = (/** @type {string} */ name, /** @type {(element: HTMLElement, text: string) => void} */ set) => {
    for (const element of /** @type {NodeListOf<HTMLElement>} */ (document.querySelectorAll(`[${name}]`)))
      set(element, t(/** @type {Page.TextKey} */ (element.getAttribute(name))));
  };
  put("data-t", (element, text) => (element.textContent = text));
  put("data-t-label", (element, text) => element.setAttribute("aria-label", text));
  put("data-t-placeholder", (element, text) => element.setAttribute("placeholder", text));
}

/**
 * Return the first control in `place` that can have the focus.
 *
 * @param {Element} place
 */
export function firstControl(place) {
  /** @type {NodeListOf<HTMLElement>} */
  const controls = place.querySelectorAll("a[href], button, input, select, textarea, summary, [tabindex='0']");
  return [...controls].find(canHaveFocus);
}

/** @param {Element} element */
export function canHaveFocus(element) {
  return isShown(element) && !element.matches(":disabled") && element.closest("[inert]") === null;
}

/** @param {Element} element */
export function isShown(element) {
  return element.isConnected && element.checkVisibility({ visibilityProperty: true });
}

/**
 * Focus the first field of a form that a sign-in module has drawn into `place`.
 *
 * @param {HTMLElement} place
 */
export function focusFirstField(place) {
  place.querySelector("input")?.focus();
}
