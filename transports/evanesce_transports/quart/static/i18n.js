// The language of the page. It is chosen once, before anything is drawn, and all modules write their texts with `t`.

export const LANGUAGES = Object.freeze(["en", "de", "ar"]);
const RIGHT_TO_LEFT = Object.freeze(["ar"]);

/** @type {Page.Texts} */
let texts;
let tag = "en"; // of the region as well: numbers are written as the user's browser wants them

/**
 * Return the first of the wanted languages that the page has, with its region; "en" where it has none of them.
 *
 * @param {readonly string[]} wanted tags such as "de-AT", in the order of preference
 */
export function chooseLanguage(wanted) {
  return wanted.find((one) => LANGUAGES.includes(primary(one))) ?? "en";
}

/**
 * Load the texts of a language. Throws what the import throws.
 *
 * @param {string} one that `chooseLanguage` has returned
 * @returns {Promise<Page.Texts>}
 */
export async function loadTexts(one) {
  return (await import(`./locales/${primary(one)}.js`)).default;
}

/**
 * Write all texts in this language from now on.
 *
 * @param {string} one a tag such as "de-AT"
 * @param {Page.Texts} itsTexts
 */
export function setLanguage(one, itsTexts) {
  tag = one;
  texts = itsTexts;
}

/** Return the language of the page, without its region, such as "de". */
export function language() {
  return primary(tag);
}

/**
 * Return the direction of writing of a language.
 *
 * @param {string} one
 */
export function direction(one) {
  return RIGHT_TO_LEFT.includes(primary(one)) ? "rtl" : "ltr";
}

/**
 * Return a text in the language of the page. `{name}` in it is replaced by the value of that name. A text with plural forms
 * is chosen by the value `count`.
 *
 * @param {Page.TextKey} key section and name, such as "room.share"
 * @param {Record<string, string | number>} [values] numbers are written as the language writes them
 */
export function t(key, values = {}) {
  const [section, name] = key.split(".");
  const text = /** @type {Record<string, Record<string, string | Page.Plural>>} */ (texts)[section][name];
  const form = typeof text === "string" ? text : pluralForm(text, Number(values.count));
  // The regular expression sees the text of the page alone: what it sees last, the browser keeps in `RegExp.input`.
  return form.replace(/\{(\w+)\}/g, (_, one) => {
    const value = values[one];
    return typeof value === "number" ? new Intl.NumberFormat(tag).format(value) : value;
  });
}

/**
 * Return a duration as text, in the largest unit of which there are at least two.
 *
 * @param {number} seconds
 * @param {"long" | "short"} [width] "short" abbreviates the unit
 */
export function duration(seconds, width = "long") {
  const [count, unit] =
    seconds < 120
      ? [seconds, "second"]
      : seconds < 7200
        ? [Math.round(seconds / 60), "minute"]
        : seconds < 172_800
          ? [Math.round(seconds / 3600), "hour"]
          : [Math.round(seconds / 86_400), "day"];
  return new Intl.NumberFormat(tag, { style: "unit", unit, unitDisplay: width }).format(count);
}

/**
 * Return names as an enumeration: "Ana, Ben and Cleo".
 *
 * @param {string[]} names
 */
export function list(names) {
  return new Intl.ListFormat(tag, { type: "conjunction" }).format(names);
}

/**
 * Return a moment as date and time.
 *
 * @param {string} timestamp
 */
export function moment(timestamp) {
  return new Intl.DateTimeFormat(tag, { dateStyle: "medium", timeStyle: "short" }).format(new Date(timestamp));
}

/**
 * @param {Page.Plural} forms
 * @param {number} count
 */
function pluralForm(forms, count) {
  return forms[new Intl.PluralRules(tag).select(count)] ?? forms.other;
}

/** @param {string} one */
function primary(one) {
  return one.toLowerCase().split("-")[0];
}
