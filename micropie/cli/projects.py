"""The files of ``micropie new --api`` and of ``micropie new --package``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from micropie.cli.target import CommandError


def filled(text: str, words: Mapping[str, str]) -> str:
    """Return ``text`` with its placeholders (words in capitals) replaced."""
    return re.sub("|".join(words), lambda found: words[found[0]], text)


def write(name: str, files: Mapping[Path, str], words: Mapping[str, str]) -> None:
    """Write the files of a project or resource, with the placeholders in their texts replaced."""
    try:
        for file, text in files.items():
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(filled(text, words))
    except OSError as error:
        raise CommandError(f"{name} can't be created: {error.strerror}: {error.filename}") from None


API = '''"""The API. Run ``micropie run --reload``, then open http://127.0.0.1:8000/docs"""

from __future__ import annotations

import os
from itertools import count
from threading import Lock
from typing import Annotated

from msgspec import Meta, Struct

from micropie import App, HTTPError, describe, get, post
from micropie.middleware import SecurityDefaults

# The host names of this API. A request for any other host gets a 400.
HOSTS = os.environ.get("HOSTS", "127.0.0.1,localhost,testserver").split(",")


class NewPie(Struct):
    name: Annotated[str, Meta(min_length=1, max_length=80)]
    price: Annotated[int, Meta(ge=1)] = 4


class Pie(NewPie):
    number: int = 0


class Pies(App):
    """Keeps its pies in memory. Use a database instead."""

    def __init__(self) -> None:
        super().__init__(
            docs=True,
            errors="json",
            expose="explicit",
            debug=os.environ.get("DEBUG") == "1",
            security=SecurityDefaults(*HOSTS),
        )
        self._pies: dict[int, Pie] = {}
        self._numbers = count(1)
        self._lock = Lock()  # handlers run in threads

    @get("/pies")
    def pies(self) -> list[Pie]:
        """List the pies."""
        with self._lock:
            return list(self._pies.values())

    @post("/pies")
    @describe(status=201)
    def bake(self, pie: NewPie) -> tuple[int, Pie]:
        """Add a pie."""
        with self._lock:
            number = next(self._numbers)
            made = self._pies[number] = Pie(pie.name, pie.price, number)
        return 201, made

    @get("/pies/<number:int>")
    @describe(responses={404: "There is no such pie."})
    def pie(self, number: int) -> Pie:
        """Show a pie."""
        with self._lock:
            if number not in self._pies:
                raise HTTPError(404, "There is no such pie.")
            return self._pies[number]


app = Pies()
'''

API_TEST = '''"""Run with ``pytest``."""

from micropie.testing import TestClient

from app import Pies


def test_a_pie_is_baked() -> None:
    with TestClient(Pies()) as client:
        assert client.post("/pies", json={"name": "plum"}).status_code == 201
        assert client.get("/pies/1").json() == {"name": "plum", "price": 4, "number": 1}
        assert client.get("/pies/2").status_code == 404


def test_invalid_values_are_explained() -> None:
    with TestClient(Pies()) as client:
        answer = client.post("/pies", json={"name": "", "price": 0})
        assert answer.status_code == 400
        assert len(answer.json()["errors"]) == 2
'''

APPLICATION = '''"""The application. Run ``micropie run --reload``, then open http://127.0.0.1:8000/"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from micropie import App, HTTPError, config, template
from micropie.middleware import SecurityDefaults

from MODULE.greetings import Greetings
from MODULE.settings import Settings


class Root(App):
    """An attribute that is an App serves the URLs under the attribute's name."""

    greetings = Greetings()

    def index(self) -> str:
        return self.render("index.html")

    async def status(self) -> dict[str, str]:
        return {"status": "ok"}


def make_app(environment: Mapping[str, str] | None = None) -> App:
    """Return the application. Its settings come from ``environment``, by default the process's."""
    settings = config.read(Settings, environment=environment)
    app = Root(
        templates="package:MODULE",
        methods=["GET", "HEAD", "POST"],  # for handlers without a decorator
        debug=settings.debug,
        security=SecurityDefaults(*settings.hosts),
    )
    app.static("/static", Path(__file__).parent / "static")
    app.error(HTTPError)(show_error)
    if not settings.debug:  # the debug page has the traceback
        app.error(500)(show_error)
    return app


def show_error(error: Exception) -> str:
    return template("error.html", error=error)
'''

GREETINGS = '''"""The pages under /greetings."""

from __future__ import annotations

from micropie import App, Redirect, flash, post


class Greetings(App):
    def index(self) -> str:
        return self.render("greetings.html", names=self.request.session.get("names", []))

    @post
    def greet(self, name: str) -> Redirect:
        session = self.request.session
        session["names"] = [*session.get("names", []), name[:80]][-20:]  # only the last 20
        flash(f"Hello, {name[:80]}!")
        return Redirect(self.url_for("index"))
'''

SETTINGS = '''"""The settings, from environment variables and the file .env."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Settings:
    hosts: tuple[str, ...] = ("127.0.0.1", "localhost", "testserver")  # other hosts get a 400
    debug: bool = False
'''

LAYOUT = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{% block title %}NAME{% endblock %}</title>
<link rel="stylesheet" href="{{ url_for('static', path='site.css') }}">
<link rel="icon" href="{{ url_for('static', path='favicon.svg') }}">
<main>
{% for message in get_flashed_messages() %}<p class="message">{{ message }}</p>{% endfor %}
{% block main %}{% endblock %}
</main>
</html>
"""

ICON = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16">
<circle cx="8" cy="8" r="7" fill="peru"/>
</svg>
"""

ERROR = """{% extends "layout.html" %}
{% block title %}Error{% endblock %}
{% block main %}
<h1>Sorry</h1>
<p>{{ error.message or "500 Something went wrong" }}</p>
<p><a href="{{ request.root_path }}/">Home</a></p>
{% endblock %}
"""

PAGES = {"layout.html": LAYOUT, "error.html": ERROR}

INDEX = """{% extends "layout.html" %}
{% block main %}
<h1>NAME</h1>
<p><a href="{{ url_for('greetings.index') }}">Greetings</a></p>
{% endblock %}
"""

GREET = """{% extends "layout.html" %}
{% block main %}
<h1>NAME</h1>
<form method="post" action="{{ url_for('greet') }}">
  {{ csrf_input }}
  <label>Your name <input name="name" required></label>
  <button>Greet</button>
</form>
<ul>{% for name in names %}<li>{{ name }}</li>{% endfor %}</ul>
{% endblock %}
"""

LIST = GREET.replace("NAME", "Greetings").replace("greet')", "greetings.greet')")

PACKAGE_TEST = '''"""Run with ``pytest``."""

from micropie.testing import TestClient

from MODULE.app import make_app


def test_it_greets() -> None:
    with TestClient(make_app({})) as client:
        answer = client.post_form("/greetings", {"name": "<Ann>"}, follow_redirects=True)
        assert "Hello, &lt;Ann&gt;!" in answer.text
        assert client.get("/status").json() == {"status": "ok"}
        assert "Greetings" in client.get("/").text
        assert "404 Not Found" in client.get("/nowhere").text
'''

PACKAGE = {
    "MODULE/__init__.py": '"""NAME."""\n',
    "MODULE/app.py": APPLICATION,
    "MODULE/greetings.py": GREETINGS,
    "MODULE/settings.py": SETTINGS,
    "MODULE/templates/index.html": INDEX,
    "MODULE/templates/greetings.html": LIST,
    "tests/test_app.py": PACKAGE_TEST,
}

AGENTS = """# For coding assistants

NAME is an application on micropie. Read the file whose path this command prints. It has micropie's rules, and its
names for the features of other frameworks:

    python -c "import micropie; print(micropie.__path__[0] + '/cli/.agents/skills/micropie/SKILL.md')"

After a change run `pytest`, `micropie check` and `mypy --strict .`; all three must pass.
"""  # noqa: E501
