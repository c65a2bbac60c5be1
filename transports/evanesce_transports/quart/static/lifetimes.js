// The times from which the user chooses for how long messages live.

const SECONDS = Object.freeze([5, 10, 30, 60, 300, 900, 3_600, 21_600, 86_400]);

/**
 * Return the times to choose from, in seconds: the shortest and the longest that are allowed, and the usual ones between them.
 *
 * @param {number} shortest
 * @param {number} longest
 */
export function lifetimes(shortest, longest) {
  const between = SECONDS.filter((seconds) => seconds > shortest && seconds < longest);
  return shortest < longest ? [shortest, ...between, longest] : [longest];
}
