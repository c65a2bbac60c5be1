// What the user can do about each failure, in the languages of the page.

/**
 * The texts by kind; each ends without a full stop, because the code of the failure may follow.
 *
 * @type {Readonly<Record<string, Readonly<Record<string, string>>>>}
 */
export const FAILURE_TEXTS = Object.freeze({
  en: {
    operator: "World App does not accept the requests of this server. Tell the operator of the server",
    expired: "The request has expired. Try again, and confirm within five minutes",
    update: "Your World App does not support this yet. Update it, and try again",
    clock:
      "The clock of this server or of your phone is wrong. Set that of your phone, or tell the operator of the server",
    unknown: "World App could not confirm the request. Try again",
    declined: "You declined in World App. Nothing was changed, and you can try again",
    rejected: "World App rejected the verification. Try again",
    unverified: "Your World ID is not verified as human yet. World App shows where to verify it. Come back after that",
    tooOld: "World App no longer supports your older World ID. Update World App, and try again",
    known: "You already have an account here. Sign in to it with its account code",
    repeated: "This request was used before. Try again to make a new one",
    network: "Your World App uses another environment than this server. Ask the operator of the server which it uses",
    pending: "Your World ID is new, and World has not registered it yet. Try again in an hour",
    notFound: "World could not find your World ID. Try again in a few minutes",
    tooOften: "World App does not confirm this request again. Tell the operator of the server",
    absent: "World App could not verify that it is you. Try again",
    unreachable: "World cannot be reached. Check the connection of this device and of your phone, and try again",
    late: "There was no confirmation in time. Try again",
    cancelled: "The request was cancelled. You can try again",
  },
  de: {
    operator: "World App nimmt die Anfragen dieses Servers nicht an. Sag es dem Betreiber des Servers",
    expired: "Die Anfrage ist abgelaufen. Versuche es noch einmal und bestätige innerhalb von fünf Minuten",
    update: "Deine World App unterstützt das noch nicht. Aktualisiere sie und versuche es noch einmal",
    clock:
      "Die Uhr dieses Servers oder deines Telefons geht falsch. Stelle die deines Telefons, oder sag es dem Betreiber des Servers",
    unknown: "World App konnte die Anfrage nicht bestätigen. Versuche es noch einmal",
    declined: "Du hast in World App abgelehnt. Nichts wurde geändert, und du kannst es noch einmal versuchen",
    rejected: "World App hat die Prüfung abgelehnt. Versuche es noch einmal",
    unverified:
      "Deine World ID ist noch nicht als die eines Menschen bestätigt. World App zeigt, wo das geht. Komm danach wieder",
    tooOld:
      "World App unterstützt deine ältere World ID nicht mehr. Aktualisiere World App und versuche es noch einmal",
    known: "Du hast hier schon ein Konto. Melde dich mit seinem Kontocode an",
    repeated: "Diese Anfrage wurde schon benutzt. Versuche es noch einmal, um eine neue zu stellen",
    network:
      "Deine World App benutzt eine andere Umgebung als dieser Server. Frage den Betreiber des Servers, welche er benutzt",
    pending:
      "Deine World ID ist neu, und World hat sie noch nicht eingetragen. Versuche es in einer Stunde noch einmal",
    notFound: "World konnte deine World ID nicht finden. Versuche es in ein paar Minuten noch einmal",
    tooOften: "World App bestätigt diese Anfrage nicht noch einmal. Sag es dem Betreiber des Servers",
    absent: "World App konnte nicht feststellen, dass du es bist. Versuche es noch einmal",
    unreachable:
      "World ist nicht erreichbar. Prüfe die Verbindung dieses Geräts und deines Telefons und versuche es noch einmal",
    late: "Es kam rechtzeitig keine Bestätigung. Versuche es noch einmal",
    cancelled: "Die Anfrage wurde abgebrochen. Du kannst es noch einmal versuchen",
  },
  ar: {
    operator: "لا يقبل World App طلبات هذا الخادم. أخبر مشغّل الخادم",
    expired: "انتهت صلاحية الطلب. حاول مرة أخرى وأكّد خلال خمس دقائق",
    update: "لا يدعم تطبيق World App لديك هذا بعد. حدّثه وحاول مرة أخرى",
    clock: "ساعة هذا الخادم أو ساعة هاتفك غير صحيحة. اضبط ساعة هاتفك أو أخبر مشغّل الخادم",
    unknown: "لم يتمكن World App من تأكيد الطلب. حاول مرة أخرى",
    declined: "رفضت الطلب في World App. لم يتغير شيء، ويمكنك المحاولة مرة أخرى",
    rejected: "رفض World App التحقق. حاول مرة أخرى",
    unverified: "لم يُتحقق بعد من أن World ID لديك لإنسان. يعرض World App مكان التحقق. عد بعد ذلك",
    tooOld: "لم يعد World App يدعم إصدارك الأقدم من World ID. حدّث World App وحاول مرة أخرى",
    known: "لديك حساب هنا. سجّل الدخول إليه برمز الحساب",
    repeated: "استُخدم هذا الطلب من قبل. حاول مرة أخرى لإنشاء طلب جديد",
    network: "يستخدم World App لديك بيئة غير بيئة هذا الخادم. اسأل مشغّل الخادم عن البيئة التي يستخدمها",
    pending: "معرّف World ID لديك جديد ولم تسجّله World بعد. حاول مرة أخرى بعد ساعة",
    notFound: "لم تعثر World على معرّف World ID لديك. حاول مرة أخرى بعد بضع دقائق",
    tooOften: "لا يؤكد World App هذا الطلب مرة أخرى. أخبر مشغّل الخادم",
    absent: "لم يتمكن World App من التحقق من أنك أنت. حاول مرة أخرى",
    unreachable: "تعذّر الوصول إلى World. تحقق من اتصال هذا الجهاز وهاتفك وحاول مرة أخرى",
    late: "لم يصل تأكيد في الوقت المحدد. حاول مرة أخرى",
    cancelled: "أُلغي الطلب. يمكنك المحاولة مرة أخرى",
  },
});
