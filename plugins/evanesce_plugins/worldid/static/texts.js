// The texts of the sign-in with World ID, in the languages of the page. What is said of failures is in failure-texts.js.

/**
 * @typedef {object} Texts
 * @property {string} title
 * @property {string} explanation
 * @property {string} isNew
 * @property {string} isKnown
 * @property {string} name
 * @property {string} noAccount
 * @property {string} signUp
 * @property {string} code
 * @property {string} codeHint
 * @property {string} signIn
 * @property {string} noCode
 * @property {string} notSetUp
 * @property {string} unfinishedReminder
 * @property {string} unfinishedLeaving
 * @property {string} forgetting
 * @property {string} copy
 * @property {string} copied
 * @property {string} use
 * @property {string} unfinished
 * @property {string} finish
 * @property {string} codeQr
 * @property {string} scanCode
 * @property {string} otherDevice
 * @property {string} requestQr
 * @property {string} openHere
 * @property {string} cancel
 * @property {string} moment
 * @property {string} confirm
 * @property {string} scan
 * @property {string} isAtApp
 * @property {string} step1
 * @property {string} step2
 * @property {string} confirmed
 * @property {string} again
 * @property {string} noQr
 * @property {string} noLibrary
 */

const EXAMPLE = "0123-4567-89AB-CDEF-GHJK-MNPQ-RS";

/** @type {Readonly<Record<string, Texts>>} */
export const TEXTS = Object.freeze({
  en: {
    title: "With World ID",
    explanation: "World App proves that you are a unique human, and does not reveal who you are.",
    isNew: "New here",
    isKnown: "I have an account",
    name: "Your name",
    noAccount: "I do not have an account here, not even one that I created with an older World App.",
    signUp: "Sign up with World ID",
    code: "Account code",
    codeHint: "On a device where you are signed in, select your name at the top of the page to see the account code.",
    signIn: "Sign in with World ID",
    noCode: `This is not an account code. A code has 26 digits and letters, such as ${EXAMPLE}.`,
    notSetUp: "Signing in with World ID is not set up for this page. Other clients of this server can still use it.",
    unfinishedReminder:
      "The setup of World ID is not finished. Without it you cannot sign in again with a newer World App.",
    unfinishedLeaving:
      "The setup of World ID is not finished. After you sign out, you cannot sign in again with a newer World App.",
    forgetting:
      "World proves only once a year to this server that you are a unique human. After you delete your account, you may have to wait that long to create another.",
    copy: "Copy",
    copied: "Copied",
    use: "With this code and World App you can sign in on other devices, and on this device again. Keep it secret: anyone who knows it can try to make you confirm their sign-in.",
    unfinished:
      "This account was created with an older World ID. Confirm twice in World App, so that you can sign in with a newer World ID too.",
    finish: "Finish setting up World ID",
    codeQr: "QR code with the account code",
    scanCode: "Scan this code with the other device. It opens this page with your account code filled in.",
    otherDevice: "Sign in on another device",
    requestQr: "QR code for World App",
    openHere: "Open World App on this device",
    cancel: "Cancel",
    moment: "One moment…",
    confirm: "Confirm in World App.",
    scan: "Scan this code with World App, or open World App on this device, and confirm there.",
    isAtApp: "World App has the request. Confirm it there.",
    step1: "Step 1 of 2: set up sign-in.",
    step2: "Step 2 of 2: prove that you are human.",
    confirmed: "Confirmed. One moment…",
    again: "Trying again…",
    noQr: "The QR code cannot be shown at the moment.",
    noLibrary: "World’s library cannot be loaded. Check your connection and try again.",
  },
  de: {
    title: "Mit World ID",
    explanation: "World App beweist, dass du ein Mensch bist und nur ein Konto hast, und verrät nicht, wer du bist.",
    isNew: "Neu hier",
    isKnown: "Ich habe ein Konto",
    name: "Dein Name",
    noAccount: "Ich habe hier kein Konto, auch keines, das ich mit einer älteren World App angelegt habe.",
    signUp: "Mit World ID registrieren",
    code: "Kontocode",
    codeHint:
      "Wähle auf einem Gerät, auf dem du angemeldet bist, oben auf der Seite deinen Namen: Dort steht der Kontocode.",
    signIn: "Mit World ID anmelden",
    noCode: `Das ist kein Kontocode. Ein Code hat 26 Ziffern und Buchstaben, zum Beispiel ${EXAMPLE}.`,
    notSetUp:
      "Die Anmeldung mit World ID ist für diese Seite nicht eingerichtet. Andere Programme können sie auf diesem Server weiter benutzen.",
    unfinishedReminder:
      "World ID ist noch nicht fertig eingerichtet. So kannst du dich mit einer neueren World App nicht wieder anmelden.",
    unfinishedLeaving:
      "World ID ist noch nicht fertig eingerichtet. Wenn du dich abmeldest, kannst du dich mit einer neueren World App nicht wieder anmelden.",
    forgetting:
      "World beweist diesem Server nur einmal im Jahr, dass du ein Mensch mit nur einem Konto bist. Wenn du dein Konto löschst, musst du vielleicht so lange warten, bis du ein neues anlegen kannst.",
    copy: "Kopieren",
    copied: "Kopiert",
    use: "Mit diesem Code und World App kannst du dich auf anderen Geräten anmelden, und auf diesem wieder. Halte ihn geheim: Wer ihn kennt, kann versuchen, dich seine Anmeldung bestätigen zu lassen.",
    unfinished:
      "Dieses Konto wurde mit einer älteren World ID angelegt. Bestätige zweimal in World App, damit du dich auch mit einer neueren World ID anmelden kannst.",
    finish: "World ID fertig einrichten",
    codeQr: "QR-Code mit dem Kontocode",
    scanCode: "Scanne diesen Code mit dem anderen Gerät. Er öffnet diese Seite mit deinem Kontocode.",
    otherDevice: "Auf einem anderen Gerät anmelden",
    requestQr: "QR-Code für World App",
    openHere: "World App auf diesem Gerät öffnen",
    cancel: "Abbrechen",
    moment: "Einen Moment…",
    confirm: "Bestätige in World App.",
    scan: "Scanne diesen Code mit World App, oder öffne World App auf diesem Gerät, und bestätige dort.",
    isAtApp: "World App hat die Anfrage. Bestätige sie dort.",
    step1: "Schritt 1 von 2: Anmeldung einrichten.",
    step2: "Schritt 2 von 2: beweisen, dass du ein Mensch bist.",
    confirmed: "Bestätigt. Einen Moment…",
    again: "Neuer Versuch…",
    noQr: "Der QR-Code kann im Moment nicht gezeigt werden.",
    noLibrary:
      "Die Bibliothek von World kann nicht geladen werden. Prüfe deine Verbindung und versuche es noch einmal.",
  },
  ar: {
    title: "باستخدام World ID",
    explanation: "يثبت تطبيق World App أنك إنسان فريد، ولا يكشف من أنت.",
    isNew: "جديد هنا",
    isKnown: "لديّ حساب",
    name: "اسمك",
    noAccount: "ليس لديّ حساب هنا، ولا حتى حساب أنشأته بإصدار أقدم من World App.",
    signUp: "إنشاء حساب باستخدام World ID",
    code: "رمز الحساب",
    codeHint: "على جهاز سجّلت الدخول فيه، اختر اسمك أعلى الصفحة لترى رمز الحساب.",
    signIn: "تسجيل الدخول باستخدام World ID",
    noCode: `هذا ليس رمز حساب. يتكون الرمز من 26 رقمًا وحرفًا، مثل ${EXAMPLE}.`,
    notSetUp: "لم يُعدّ تسجيل الدخول باستخدام World ID لهذه الصفحة. لا تزال برامج أخرى تستطيع استخدامه على هذا الخادم.",
    unfinishedReminder: "لم يكتمل إعداد World ID. من دونه لا يمكنك تسجيل الدخول مرة أخرى بإصدار أحدث من World App.",
    unfinishedLeaving:
      "لم يكتمل إعداد World ID. بعد تسجيل الخروج لا يمكنك تسجيل الدخول مرة أخرى بإصدار أحدث من World App.",
    forgetting:
      "تثبت World لهذا الخادم مرة واحدة في السنة فقط أنك إنسان فريد. بعد حذف حسابك قد تضطر إلى الانتظار هذه المدة لإنشاء حساب آخر.",
    copy: "نسخ",
    copied: "تم النسخ",
    use: "بهذا الرمز وتطبيق World App يمكنك تسجيل الدخول على أجهزة أخرى، وعلى هذا الجهاز مرة أخرى. أبقِه سرًّا: من يعرفه يستطيع أن يحاول جعلك تؤكد تسجيل دخوله.",
    unfinished:
      "أُنشئ هذا الحساب بإصدار أقدم من World ID. أكّد مرتين في World App حتى تتمكن من تسجيل الدخول بإصدار أحدث أيضًا.",
    finish: "إكمال إعداد World ID",
    codeQr: "رمز QR يحتوي على رمز الحساب",
    scanCode: "امسح هذا الرمز بالجهاز الآخر. سيفتح هذه الصفحة مع رمز حسابك.",
    otherDevice: "تسجيل الدخول على جهاز آخر",
    requestQr: "رمز QR لتطبيق World App",
    openHere: "افتح World App على هذا الجهاز",
    cancel: "إلغاء",
    moment: "لحظة من فضلك…",
    confirm: "أكّد في World App.",
    scan: "امسح هذا الرمز بتطبيق World App، أو افتح World App على هذا الجهاز، وأكّد هناك.",
    isAtApp: "وصل الطلب إلى World App. أكّده هناك.",
    step1: "الخطوة 1 من 2: إعداد تسجيل الدخول.",
    step2: "الخطوة 2 من 2: إثبات أنك إنسان.",
    confirmed: "تم التأكيد. لحظة من فضلك…",
    again: "محاولة أخرى…",
    noQr: "لا يمكن عرض رمز QR في الوقت الحالي.",
    noLibrary: "تعذّر تحميل مكتبة World. تحقق من اتصالك وحاول مرة أخرى.",
  },
});

/**
 * Return the texts in the language of the page; in English where there are none in it.
 *
 * @param {Pick<Page.Host, "language">} host
 */
export function textsFor({ language }) {
  return TEXTS[language] ?? TEXTS.en;
}
