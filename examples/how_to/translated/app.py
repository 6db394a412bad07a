from pathlib import Path

from babel.support import NullTranslations, Translations
from jinja2 import pass_context

from micropie import App, Redirect, post

FOLDER = Path(__file__).parent / "translations"
CATALOGS = {"en": NullTranslations()} | {
    folder.name: Translations.load(FOLDER, [folder.name]) for folder in FOLDER.iterdir()
}


def language_of(request):
    """Return the language that the visitor has chosen, else the browser's, else English."""
    chosen = request.cookies.get("language")
    if chosen in CATALOGS:
        return chosen
    accepted = [
        part.partition(";")[0].strip()[:2].lower() for part in request.headers.get("Accept-Language", "").split(",")
    ]
    return next((language for language in accepted if language in CATALOGS), "en")


def set_up_jinja(environment):
    environment.add_extension("jinja2.ext.i18n")

    @pass_context
    def gettext(context, text):
        return CATALOGS[language_of(context["request"])].gettext(text)

    @pass_context
    def ngettext(context, singular, plural, number):
        return CATALOGS[language_of(context["request"])].ngettext(singular, plural, number)

    environment.install_gettext_callables(gettext, ngettext, newstyle=True)


class Shop(App):
    def index(self, pies: int = 1):
        self.response.headers["Vary"] = "Accept-Language, Cookie"
        return self.render("index.html", pies=pies)

    @post
    def speak(self, language):
        if language in CATALOGS:
            self.response.set_cookie("language", language, max_age=365 * 24 * 3600)
        return Redirect(self.url_for("index"))


app = Shop(template_setup=set_up_jinja)
