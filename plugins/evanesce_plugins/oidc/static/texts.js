// The texts of the sign-in with OpenID Connect, in the languages of the page.

/**
 * @typedef {object} Texts
 * @property {(issuer: string) => string} at the button, with the name of the issuer's host
 * @property {string} insecure
 * @property {(origin: string) => string} elsewhere
 * @property {(reason: string) => string} refused with the reason of the issuer
 * @property {string} noReason
 * @property {string} stranger
 * @property {string} again
 */

/** @type {Readonly<Record<string, Texts>>} */
export const TEXTS = Object.freeze({
  en: {
    at: (issuer) => `Continue at ${issuer}`,
    insecure: "This sign-in needs a page that was loaded over HTTPS.",
    elsewhere: (origin) => `Open this page at ${origin} to sign in this way.`,
    refused: (reason) => `The identity provider did not sign you in: ${reason}`,
    noReason: "it gave no reason",
    stranger: "This sign-in was not started in this tab, or it has expired.",
    again: "Start again",
  },
  de: {
    at: (issuer) => `Weiter bei ${issuer}`,
    insecure: "Diese Anmeldung braucht eine Seite, die über HTTPS geladen wurde.",
    elsewhere: (origin) => `Öffne diese Seite unter ${origin}, um dich so anzumelden.`,
    refused: (reason) => `Der Anmeldedienst hat dich nicht angemeldet: ${reason}`,
    noReason: "Er nannte keinen Grund",
    stranger: "Diese Anmeldung wurde nicht in diesem Tab begonnen, oder sie ist abgelaufen.",
    again: "Neu beginnen",
  },
  ar: {
    at: (issuer) => `المتابعة عبر ${issuer}`,
    insecure: "يتطلب تسجيل الدخول هذا صفحة محمّلة عبر HTTPS.",
    elsewhere: (origin) => `افتح هذه الصفحة على العنوان ${origin} لتسجيل الدخول بهذه الطريقة.`,
    refused: (reason) => `لم يقبل مزوّد الهوية تسجيل دخولك: ${reason}`,
    noReason: "لم يذكر سببًا",
    stranger: "لم يبدأ تسجيل الدخول هذا في علامة التبويب هذه، أو انتهت صلاحيته.",
    again: "ابدأ من جديد",
  },
});

/**
 * Return the texts in a language; in English where there are none in it.
 *
 * @param {string} language such as "de"
 */
export function textsFor(language) {
  return TEXTS[language] ?? TEXTS.en;
}

/**
 * Return the first of the wanted languages that there are texts in; "en" where there is none.
 *
 * @param {readonly string[]} wanted tags such as "de-AT", in the order of preference
 */
export function chooseLanguage(wanted) {
  const languages = wanted.map((tag) => tag.toLowerCase().split("-")[0]);
  return languages.find((language) => Object.hasOwn(TEXTS, language)) ?? "en";
}
