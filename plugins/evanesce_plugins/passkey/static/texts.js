// The texts of the sign-in with passkeys, in the languages of the page.

/**
 * @typedef {object} Texts
 * @property {string} signIn
 * @property {string} name
 * @property {string} create
 * @property {string} isNew
 * @property {string} noPasskeys
 * @property {string} code
 * @property {string} recover
 * @property {string} lost
 * @property {string} remindNone
 * @property {string} remindOne
 * @property {string} forgetting
 * @property {string} title
 * @property {string} makeCodes
 * @property {string} codes
 * @property {string} deviceName
 * @property {string} add
 * @property {string} noCodes
 * @property {Partial<Record<Intl.LDMLPluralRule, string>> & { other: string }} codesLeft `{count}` stands for their number
 * @property {string} here
 * @property {(added: string, used: string) => string} days
 * @property {string} remove
 * @property {(device: string) => string} removeDevice
 * @property {string} unreachable
 * @property {(origin: string) => string} elsewhere
 * @property {string} hasOne
 * @property {string} unsupported
 * @property {string} wrongPlace
 * @property {string} notUsed
 */

/** @type {Readonly<Record<string, Texts>>} */
export const TEXTS = Object.freeze({
  en: {
    signIn: "Sign in with a passkey",
    name: "Your name",
    create: "Create an account with a passkey",
    isNew: "New here?",
    noPasskeys: "This browser cannot use passkeys on this page. Another browser may be able to.",
    code: "Recovery code",
    recover: "Sign in with a recovery code",
    lost: "Lost your devices?",
    remindNone: "Your account has no passkey. Add this device while you are signed in.",
    remindOne: "If you lose your only passkey, you lose your account. Add another device, or make recovery codes.",
    forgetting: "Your devices keep their passkeys until you delete them there. They are of no use afterwards.",
    title: "Passkeys",
    makeCodes: "Make new recovery codes",
    codes:
      "Keep these codes where you find them without your devices. Each signs in once. They are shown only now, and replace earlier ones.",
    deviceName: "Name of the new device",
    add: "Add a device",
    noCodes: "You have no recovery codes.",
    codesLeft: { one: "You have {count} recovery code.", other: "You have {count} recovery codes." },
    here: "(signed in here)",
    days: (added, used) => `added ${added}, last used ${used}`,
    remove: "Remove",
    removeDevice: (device) => `Remove ${device}`,
    unreachable: "The server cannot be reached.",
    elsewhere: (origin) => `Open this page at ${origin} to use passkeys.`,
    hasOne: "This device has a passkey of this account already.",
    unsupported: "This device cannot make a passkey for this server.",
    wrongPlace: "Passkeys do not work at the address of this page.",
    notUsed: "No passkey was used: the request was cancelled, or no device has one. You can try again.",
  },
  de: {
    signIn: "Mit einem Passkey anmelden",
    name: "Dein Name",
    create: "Konto mit einem Passkey anlegen",
    isNew: "Neu hier?",
    noPasskeys:
      "Dieser Browser kann auf dieser Seite keine Passkeys verwenden. Ein anderer Browser kann es vielleicht.",
    code: "Wiederherstellungscode",
    recover: "Mit einem Wiederherstellungscode anmelden",
    lost: "Geräte verloren?",
    remindNone: "Dein Konto hat keinen Passkey. Füge dieses Gerät hinzu, solange du angemeldet bist.",
    remindOne:
      "Wenn du deinen einzigen Passkey verlierst, verlierst du dein Konto. Füge ein weiteres Gerät hinzu oder erstelle Wiederherstellungscodes.",
    forgetting: "Deine Geräte behalten ihre Passkeys, bis du sie dort löschst. Sie nützen danach nichts mehr.",
    title: "Deine Passkeys",
    makeCodes: "Neue Wiederherstellungscodes erstellen",
    codes:
      "Bewahre diese Codes dort auf, wo du sie ohne deine Geräte findest. Jeder gilt für eine Anmeldung. Sie werden nur jetzt gezeigt und ersetzen frühere.",
    deviceName: "Name des neuen Geräts",
    add: "Gerät hinzufügen",
    noCodes: "Du hast keine Wiederherstellungscodes.",
    codesLeft: {
      one: "Du hast {count} Wiederherstellungscode.",
      other: "Du hast {count} Wiederherstellungscodes.",
    },
    here: "(hier angemeldet)",
    days: (added, used) => `hinzugefügt am ${added}, zuletzt benutzt am ${used}`,
    remove: "Entfernen",
    removeDevice: (device) => `${device} entfernen`,
    unreachable: "Der Server ist nicht erreichbar.",
    elsewhere: (origin) => `Öffne diese Seite unter ${origin}, um Passkeys zu verwenden.`,
    hasOne: "Dieses Gerät hat schon einen Passkey dieses Kontos.",
    unsupported: "Dieses Gerät kann für diesen Server keinen Passkey erstellen.",
    wrongPlace: "Passkeys funktionieren an der Adresse dieser Seite nicht.",
    notUsed:
      "Es wurde kein Passkey verwendet: Die Anfrage wurde abgebrochen, oder kein Gerät hat einen. Du kannst es noch einmal versuchen.",
  },
  ar: {
    signIn: "تسجيل الدخول بمفتاح مرور",
    name: "اسمك",
    create: "إنشاء حساب بمفتاح مرور",
    isNew: "جديد هنا؟",
    noPasskeys: "لا يستطيع هذا المتصفح استخدام مفاتيح المرور في هذه الصفحة. قد يستطيع متصفح آخر ذلك.",
    code: "رمز الاسترداد",
    recover: "تسجيل الدخول برمز استرداد",
    lost: "فقدت أجهزتك؟",
    remindNone: "ليس لحسابك مفتاح مرور. أضف هذا الجهاز وأنت مسجّل الدخول.",
    remindOne: "إذا فقدت مفتاح المرور الوحيد فستفقد حسابك. أضف جهازًا آخر أو أنشئ رموز استرداد.",
    forgetting: "تحتفظ أجهزتك بمفاتيح المرور إلى أن تحذفها منها. لا فائدة منها بعد ذلك.",
    title: "مفاتيح المرور",
    makeCodes: "إنشاء رموز استرداد جديدة",
    codes:
      "احفظ هذه الرموز حيث تجدها من دون أجهزتك. يصلح كل منها لتسجيل دخول واحد. تُعرض الآن فقط، وتحل محل الرموز السابقة.",
    deviceName: "اسم الجهاز الجديد",
    add: "إضافة جهاز",
    noCodes: "ليست لديك رموز استرداد.",
    codesLeft: {
      one: "لديك رمز استرداد واحد.",
      two: "لديك رمزا استرداد.",
      few: "لديك {count} رموز استرداد.",
      many: "لديك {count} رمز استرداد.",
      other: "لديك {count} رمز استرداد.",
    },
    here: "(مسجّل الدخول هنا)",
    days: (added, used) => `أُضيف في ${added}، وآخر استخدام في ${used}`,
    remove: "إزالة",
    removeDevice: (device) => `إزالة ${device}`,
    unreachable: "تعذّر الوصول إلى الخادم.",
    elsewhere: (origin) => `افتح هذه الصفحة على العنوان ${origin} لاستخدام مفاتيح المرور.`,
    hasOne: "لدى هذا الجهاز مفتاح مرور لهذا الحساب.",
    unsupported: "لا يستطيع هذا الجهاز إنشاء مفتاح مرور لهذا الخادم.",
    wrongPlace: "لا تعمل مفاتيح المرور على عنوان هذه الصفحة.",
    notUsed: "لم يُستخدم أي مفتاح مرور: أُلغي الطلب أو لا يوجد مفتاح على أي جهاز. يمكنك المحاولة مرة أخرى.",
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

/**
 * Return the sentence that says how many recovery codes are left.
 *
 * @param {Pick<Page.Host, "language">} host
 * @param {number} count
 */
export function codesLeft(host, count) {
  const { noCodes, codesLeft: forms } = textsFor(host);
  if (count === 0) return noCodes;
  const form = forms[new Intl.PluralRules(host.language).select(count)] ?? forms.other;
  return form.replace("{count}", new Intl.NumberFormat(host.language).format(count));
}

/**
 * Return a day as the language writes it.
 *
 * @param {Pick<Page.Host, "language">} host
 * @param {string} day such as "2026-11-22"
 */
export function dayText({ language }, day) {
  return new Intl.DateTimeFormat(language, { dateStyle: "medium", timeZone: "UTC" }).format(new Date(day));
}
