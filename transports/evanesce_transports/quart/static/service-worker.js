// The service worker of the page: it keeps the files of the page and a page for a browser without a network. It never keeps
// a page, an answer of the API, or anything that people write.

const FILES = "static"; // the server puts the folder in its place, whose name is a digest of the files
const BEGINNING = "evanesce "; // of the names of this worker's caches, one for each version of the files
const KEPT = 2; // versions: pages of the one before may still be open
const OFFLINE = Object.freeze(["offline.html", "chat.css", "icon.svg"]);

const LANGUAGES = Object.freeze(["en", "de", "ar"]); // of OFFLINE, which has all of them

const worker = /** @type {ServiceWorkerGlobalScope} */ (/** @type {unknown} */ (self));

/** Return the beginning of the names of the caches: other servers may be on this origin, below other paths. */
function beginning() {
  return `${BEGINNING}${worker.registration.scope} `;
}

/** @param {string} name */
function address(name) {
  return new URL(`${FILES}/${name}`, worker.registration.scope).href;
}

function cacheName() {
  return beginning() + FILES;
}

async function install() {
  const cache = await caches.open(cacheName());
  await cache.addAll(OFFLINE.map(address));
  await worker.skipWaiting();
}

/** Delete the files of old versions. */
async function activate() {
  const names = (await caches.keys()).filter((name) => name.startsWith(beginning()));
  for (const name of names.slice(0, -KEPT)) await caches.delete(name);
  await worker.registration.navigationPreload?.enable();
}

/**
 * Return a file, from the network once.
 *
 * @param {Request} request
 */
async function file(request) {
  const kept = await caches.match(request, { ignoreVary: true });
  if (kept !== undefined) return kept;
  const response = await fetch(request);
  // A worker that a newer one has replaced may still answer: its cache is gone, and must not come back.
  if (response.ok && (await caches.has(cacheName()))) {
    await (await caches.open(cacheName())).put(request, response.clone());
  }
  return response;
}

/**
 * Return a page from the network, or the page for a browser without one.
 *
 * @param {FetchEvent} event
 */
async function page(event) {
  try {
    return /** @type {Response | undefined} */ (await event.preloadResponse) ?? (await fetch(event.request));
  } catch {
    const kept = await caches.match(address(OFFLINE[0]));
    return kept === undefined ? Response.error() : inLanguage(kept);
  }
}

/**
 * Return the page for a browser without a network in the first language of the browser that the page has.
 *
 * @param {Response} kept
 */
async function inLanguage(kept) {
  const wanted = navigator.languages.map((tag) => tag.toLowerCase().split("-")[0]);
  const language = wanted.find((one) => LANGUAGES.includes(one)) ?? LANGUAGES[0];
  const text = (await kept.text()).replace('<html lang="en">', `<html lang="${language}">`);
  const names = ["Content-Type", "Content-Security-Policy", "Referrer-Policy"];
  return new Response(text, { headers: Object.fromEntries(names.map((name) => [name, kept.headers.get(name) ?? ""])) });
}

worker.addEventListener("install", (event) => event.waitUntil(install()));
worker.addEventListener("activate", (event) => event.waitUntil(activate()));
worker.addEventListener("fetch", (event) => {
  const { request } = event;
  if (request.method !== "GET") return;
  if (request.mode === "navigate") event.respondWith(page(event));
  else if (request.url.startsWith(new URL("static/", worker.registration.scope).href)) event.respondWith(file(request));
});
