// The account code as people read it and type it: 26 digits of Crockford's base32, the first of which is 0 to 7.

const CODE = /^[0-7][0-9A-HJKMNP-TV-Z]{25}$/;
const SEPARATOR = /[\s\u2010-\u2015\u2212-]+/; // phones replace a hyphen by a dash

/**
 * Return the code in the form in which the server shows it; undefined where the text is not an account code.
 *
 * @param {string} text
 */
export function parseAccountCode(text) {
  const code = text
    .split(SEPARATOR)
    .join("")
    .replace(/[a-z]/g, (letter) => letter.toUpperCase())
    .replace(/[IL]/g, "1")
    .replace(/O/g, "0");
  return CODE.test(code) ? code : undefined;
}

/**
 * Return the code in groups of four, for people.
 *
 * @param {string} code
 */
export function formatAccountCode(code) {
  return (code.match(/.{1,4}/g) ?? []).join("-");
}
