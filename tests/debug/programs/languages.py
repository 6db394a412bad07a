"""A site in three languages: a path for each, a cookie, translated forms."""

from __future__ import annotations

import gettext
from collections.abc import Generator
from functools import lru_cache
from pathlib import Path
from typing import Annotated

from msgspec import Meta

from micropie import (
    App,
    BindingErrors,
    Cookie,
    HTTPError,
    Message,
    Redirect,
    Request,
    Response,
    get,
    post,
    template,
)
from micropie.middleware import SecurityDefaults

LANGUAGES = ("en", "de", "fr")
FORM = """<html lang="{{ language }}"><h1>{% trans %}Order{% endtrans %}</h1>
<form method="post" action="{{ url_for('order') }}">{{ csrf_input }}
<input name="pie" value="{{ errors.value('pie') }}">{{ errors.pie }}</form>"""
PieName = Annotated[str, Meta(min_length=3), Message("This is no pie.")]


@lru_cache
def catalog(language: str) -> gettext.NullTranslations:
    return gettext.translation("messages", Path("locale"), [language], fallback=True)


def language_of(request: Request) -> str:
    chosen = request.cookies.get("language", "")
    if chosen in LANGUAGES:
        return chosen
    accepted = request.headers.get("Accept-Language", "en")
    return next((one for one in LANGUAGES if accepted.startswith(one)), "en")


def localized(request: Request) -> Generator[None, Response, None]:
    request.state.language = language_of(request)
    response = yield
    response.headers["Content-Language"] = request.state.language


class Site(App):
    middlewares = [localized]

    @get
    def index(self) -> Redirect:
        return Redirect(f"/{language_of(self.request)}/order")

    @get("/<language>/order")
    def show(self, language: str, errors: BindingErrors) -> str:
        if language not in LANGUAGES:
            raise HTTPError(404)
        return template(source=FORM, language=language, errors=errors)

    @post
    def order(self, pie: PieName, errors: BindingErrors) -> object:
        language = self.request.state.language
        if errors:
            return 422, template(source=FORM, language=language, errors=errors)
        thanks = catalog(language).gettext("Thank you")
        return template(source="<p>{{ thanks }}, {{ pie }}</p>", thanks=thanks, pie=pie)

    @post
    def speak(self, language: str, back: str = "/") -> Redirect:
        if language in LANGUAGES:
            self.response.set_cookie("language", language, max_age=365 * 86400, httponly=True)
        return Redirect(back)

    @get
    def current(self, language: Annotated[str, Cookie("language")] = "en") -> dict[str, str]:
        return {"language": language}


app = Site(
    translations=lambda request: catalog(language_of(request)),
    security=SecurityDefaults("bakery.example"),
)
