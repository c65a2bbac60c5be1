"""The texts of the error pages, in the languages of the web client."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from http import HTTPStatus

ENGLISH = "en"
_MOST_RANGES = 64  # in an Accept-Language header; browsers send fewer than 20


@dataclass(frozen=True, slots=True)
class ErrorTexts:
    """The texts in one language. `again` has forms for one second and for more, where the language needs them.

    `explanations` stand in place of the server's message, which is in English and says no more for these statuses.
    """

    language: str
    direction: str
    titles: Mapping[int, str]
    explanations: Mapping[int, str]
    again: tuple[str, str]
    start_page: str
    error: str

    def title(self, status: int) -> str:
        """Return the title for a status."""
        return self.titles.get(status) or HTTPStatus(status).phrase

    def try_again(self, seconds: int) -> str:
        """Return the sentence that says when to come back."""
        return self.again[0 if seconds == 1 else 1].format(seconds)


_TEXTS = {
    ENGLISH: ErrorTexts(
        language=ENGLISH,
        direction="ltr",
        titles={
            400: "This request is not valid",
            401: "You are not signed in",
            403: "This is not allowed",
            404: "Page not found",
            405: "This address does not support this request",
            408: "The request took too long",
            413: "The request is too large",
            421: "This server does not have this name",
            426: "This address is for programs",
            429: "Too many requests",
            431: "The request is too large",
            500: "Something went wrong on the server",
            503: "The server cannot answer now",
        },
        explanations={},
        again=("Try again in {} second.", "Try again in {} seconds."),
        start_page="Go to the start page",
        error="Error",
    ),
    "de": ErrorTexts(
        language="de",
        direction="ltr",
        titles={
            400: "Diese Anfrage ist nicht gültig",
            401: "Du bist nicht angemeldet",
            403: "Das ist nicht erlaubt",
            404: "Seite nicht gefunden",
            405: "Diese Adresse kennt diese Anfrage nicht",
            408: "Die Anfrage hat zu lange gedauert",
            413: "Die Anfrage ist zu groß",
            421: "Dieser Server hat diesen Namen nicht",
            426: "Diese Adresse ist für Programme",
            429: "Zu viele Anfragen",
            431: "Die Anfrage ist zu groß",
            500: "Auf dem Server ist etwas schiefgegangen",
            503: "Der Server kann gerade nicht antworten",
        },
        explanations={
            404: "Unter dieser Adresse ist nichts. Vielleicht ist sie nicht vollständig.",
            405: "Öffne die Adresse im Browser.",
            421: "Öffne den Server unter seinem eigenen Namen.",
            426: "Nur Chat-Programme verbinden sich hier.",
            429: "Von deiner Adresse kommt gerade zu viel.",
            500: "Versuche es gleich noch einmal.",
            503: "Versuche es gleich noch einmal.",
        },
        again=("Versuche es in {} Sekunde noch einmal.", "Versuche es in {} Sekunden noch einmal."),
        start_page="Zur Startseite",
        error="Fehler",
    ),
    "ar": ErrorTexts(
        language="ar",
        direction="rtl",
        titles={
            400: "هذا الطلب غير صالح",
            401: "لم تسجّل الدخول",
            403: "هذا غير مسموح",
            404: "الصفحة غير موجودة",
            405: "هذا العنوان لا يدعم هذا الطلب",
            408: "استغرق الطلب وقتًا طويلًا",
            413: "الطلب كبير جدًا",
            421: "ليس لهذا الخادم هذا الاسم",
            426: "هذا العنوان للبرامج",
            429: "طلبات كثيرة جدًا",
            431: "الطلب كبير جدًا",
            500: "حدث خطأ في الخادم",
            503: "لا يستطيع الخادم الرد الآن",
        },
        explanations={
            404: "لا يوجد شيء على هذا العنوان. ربما يكون غير مكتمل.",
            405: "افتح العنوان في المتصفح.",
            421: "افتح الخادم باسمه الصحيح.",
            426: "تتصل برامج الدردشة وحدها بهذا العنوان.",
            429: "يصل من عنوانك الكثير في الوقت الحالي.",
            500: "حاول مرة أخرى بعد لحظات.",
            503: "حاول مرة أخرى بعد لحظات.",
        },
        again=("حاول مرة أخرى بعد ثانية.", "حاول مرة أخرى بعد {} ثانية."),
        start_page="الانتقال إلى صفحة البداية",
        error="خطأ",
    ),
}


def error_texts(accept_language: Iterable[str]) -> ErrorTexts:
    """Return the texts in the language that these Accept-Language headers prefer (RFC 9110); in English without one."""
    best, best_quality = ENGLISH, 0.0
    for language_range in ",".join(accept_language).split(",", _MOST_RANGES)[:_MOST_RANGES]:
        tag, _, parameter = language_range.partition(";")
        language = tag.strip().partition("-")[0].lower()
        quality = _quality(parameter)
        if language in _TEXTS and quality > best_quality:
            best, best_quality = language, quality
    return _TEXTS[best]


def _quality(parameter: str) -> float:
    name, _, value = parameter.partition("=")
    if name.strip().lower() != "q":
        return 1.0
    try:
        quality = float(value)
    except ValueError:
        return 0.0
    return quality if 0.0 <= quality <= 1.0 else 0.0
