from pathlib import Path
from typing import Annotated

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
    accepted = [
        part.partition(";")[0].strip()[:2].lower()
        for part in request.headers.get("Accept-Language", "").split(",")
    ]
    wanted = [request.cookies.get("language"), *accepted, "en"]
    return next(CATALOGS[language] for language in wanted if language in CATALOGS)


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
