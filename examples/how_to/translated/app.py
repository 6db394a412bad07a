from contextlib import suppress
from pathlib import Path
from typing import Annotated

from babel.core import negotiate_locale
from babel.support import NullTranslations, Translations
from msgspec import Meta

from micropie import App, BindingErrors, Message, Redirect, post

FOLDER = Path(__file__).parent / "translations"
CATALOGS = {"en": NullTranslations()} | {
    folder.name: Translations.load(FOLDER, [folder.name]) for folder in FOLDER.iterdir()
}


def catalog_of(request):
    """Return the catalogue of the language that the visitor has chosen. Without a choice, use the
    browser's language, or English if there is no catalogue for it.
    """
    chosen = request.cookies.get("language")
    accepted = _accepted(request.headers.get("Accept-Language", ""))
    return CATALOGS.get(chosen) or CATALOGS[negotiate_locale(accepted, [*CATALOGS]) or "en"]


def _accepted(header):
    """Return the languages of an Accept-Language header, the preferred one first. Of "de;q=0", a
    client wants no German.
    """
    qualities = {}
    for part in header.split(","):
        language, _, quality = part.replace(" ", "").partition(";q=")
        with suppress(ValueError):
            qualities[language.replace("-", "_")] = float(quality or 1)
    return sorted(filter(qualities.get, qualities), key=qualities.get, reverse=True)


def _(text):  # marks a text for pybabel; it is translated when a visitor needs it
    return text


class Shop(App):
    def index(self, pies: int = 1):
        self.response.headers["Vary"] = "Accept-Language, Cookie"
        return self.render("index.html", pies=pies, errors=BindingErrors())

    @post
    def order(
        self,
        errors: BindingErrors,
        name: Annotated[str, Meta(min_length=3)],
        pies: Annotated[int, Meta(ge=1, le=9), Message(le=_("So many?"))] = 1,
    ):
        if errors:
            return 422, self.render("index.html", pies=pies, errors=errors)
        return Redirect(self.url_for("index", pies=pies))

    @post
    def speak(self, language):
        if language in CATALOGS:
            self.response.set_cookie("language", language, max_age=365 * 24 * 3600)
        return Redirect(self.url_for("index"))


app = Shop(translations=catalog_of)
