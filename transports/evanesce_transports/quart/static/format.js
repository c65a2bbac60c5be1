// Numbers and names as text.

/**
 * Return `name` in isolation marks, so that its direction does not change the order of the text beside it.
 *
 * @param {string} name
 */
export function isolate(name) {
  return `\u2068${name}\u2069`;
}

/**
 * Return a count with its noun.
 *
 * @param {number} count
 * @param {string} singular
 */
export function counted(count, singular, plural = `${singular}s`) {
  return `${count} ${count === 1 ? singular : plural}`;
}

/**
 * Return a duration in seconds as text, in the largest unit of which there are at least two.
 *
 * @param {number} seconds
 */
export function duration(seconds) {
  if (seconds < 120) return counted(seconds, "second");
  return seconds < 7200 ? `${Math.round(seconds / 60)} minutes` : `${Math.round(seconds / 3600)} hours`;
}

/**
 * Return the sentence that says who is typing; "" where there are no names.
 *
 * @param {string[]} names
 */
export function typingText(names) {
  if (names.length === 0) return "";
  if (names.length > 3) return "Several people are typing…";
  return `${names.join(", ")} ${names.length === 1 ? "is" : "are"} typing…`;
}
