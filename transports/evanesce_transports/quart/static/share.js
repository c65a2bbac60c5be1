// Giving the link of a room to somebody: by the system's own way to share, by copying, or by hand. The link is in no element of the
// page before the user asks for it.

/**
 * Return whether the system has a way to share such a link.
 *
 * @param {string} link
 */
export function canShare(link) {
  return typeof navigator.share === "function" && (navigator.canShare?.({ url: link }) ?? true);
}

/**
 * Let the user share a link by the system. Return whether it was given to something; false where the user has changed the mind.
 *
 * @param {string} link
 * @param {string} title
 */
export async function share(link, title) {
  try {
    await navigator.share({ title, url: link });
    return true;
  } catch {
    return false;
  }
}

/**
 * Copy a text. Return false where the browser does not allow it: on a page that is not from HTTPS, or because the user refused.
 *
 * @param {string} text
 */
export async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return false;
  }
}
