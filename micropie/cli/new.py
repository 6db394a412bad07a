"""``micropie new NAME``: create a small project that runs, with a test that passes. ``micropie
check`` reports no errors in it.

With ``--api``, the project is a JSON API. With ``--package``, it is a package with settings.
``micropie new resource NAME`` adds to a project.
"""

from __future__ import annotations

import re
from argparse import Namespace
from importlib.util import find_spec
from keyword import iskeyword
from pathlib import Path

from micropie import __version__
from micropie.cli import projects, resource
from micropie.cli.target import CommandError

APP = '''"""The application. Run ``micropie run --reload``, then open http://127.0.0.1:8000/"""

from __future__ import annotations

import os

from micropie import App, HTTPError, Redirect, flash, post, template
from micropie.middleware import SecurityDefaults

DEBUG = os.environ.get("DEBUG") == "1"
# The host names of this site. A request for any other host gets a 400.
HOSTS = os.environ.get("HOSTS", "127.0.0.1,localhost,testserver").split(",")


class Root(App):
    """Each public method is a URL."""

    def index(self) -> str:
        return self.render("index.html", names=self.request.session.get("names", []))

    @post
    def greet(self, name: str) -> Redirect:
        session = self.request.session
        session["names"] = [*session.get("names", []), name[:80]][-20:]  # keep 20: a session is small
        flash(f"Hello, {name[:80]}!")
        return Redirect("/")

    async def status(self) -> dict[str, str]:
        return {"status": "ok"}


app = Root(
    methods=["GET", "HEAD", "POST"],  # for handlers without a decorator; for others, write @put
    debug=DEBUG,
    security=SecurityDefaults(*HOSTS),
)
app.static("/static", "static")


@app.error(HTTPError)
def show_error(error: Exception) -> str:
    return template("error.html", error=error)


if not DEBUG:  # the debug page has the traceback
    app.error(500)(show_error)

if __name__ == "__main__":
    app.run(reload=True)
'''  # noqa: E501

CSS = """body { font: 1rem/1.5 system-ui; max-width: 40rem; margin: 2rem auto; padding: 0 1rem }
.message { color: green }
.error { color: firebrick }
"""

TEST = '''"""Run with ``pytest``."""

from micropie.testing import TestClient

from app import app


def test_it_greets() -> None:
    with TestClient(app) as client:
        answer = client.post_form("/", {"name": "<Ann>"}, follow_redirects=True)
        assert "Hello, &lt;Ann&gt;!" in answer.text
        assert client.get("/status").json() == {"status": "ok"}


def test_an_unknown_page_is_a_404() -> None:
    with TestClient(app) as client:
        answer = client.get("/nowhere")
        assert answer.status_code == 404
        assert "404 Not Found" in answer.text
'''

README = """# NAME

micropie is not on PyPI. Build its wheel from a clone, here the folder `../micropie`, and install it:

    pip wheel --no-deps --wheel-dir wheels ../micropie
    pip install "./wheels/micropie_dual-VERSION-py3-none-any.whl[standard,test]"INSTALL

Then start the application, or run its test:

    micropie run --reload        # http://127.0.0.1:8000/START
    pytest

PARTS `micropie routes` lists the public
paths. Run `micropie check` before each deployment: it reports errors.

`.env` has the settings of this machine: `DEBUG=1` turns on the debug pages. Git ignores the file. Don't copy it to a
server.

`pyproject.toml` doesn't list micropie as a dependency, because anybody could register its name on PyPI.
"""  # noqa: E501

PYPROJECT = """[project]
name = "NAME"
version = "0.1.0"
requires-python = ">=3.11"
dependencies = []  # micropie-dual is missing because it is not on PyPI: see README.md

[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[tool.hatch.build.targets.wheel]
include = [FILES]
exclude = ["/test_*.py"]

[tool.pytest.ini_options]
pythonpath = ["."]
"""

IN_EACH = {
    "README.md": README,
    "AGENTS.md": projects.AGENTS,
    "pyproject.toml": PYPROJECT,
    ".gitignore": "__pycache__/\n.venv/\n.env\n*.db\n",
}
SITE = {
    "app.py": APP,
    "templates/index.html": projects.GREET,
    **{f"templates/{name}": text for name, text in projects.PAGES.items()},
    "static/site.css": CSS,
    "static/favicon.svg": projects.ICON,
    "test_app.py": TEST,
    ".env": "DEBUG=1\n",
    **IN_EACH,
}
API = {"app.py": projects.API, "test_app.py": projects.API_TEST, ".env": "DEBUG=1\n", **IN_EACH}
PACKAGE = {
    **projects.PACKAGE,
    **{f"MODULE/templates/{name}": text for name, text in projects.PAGES.items()},
    "MODULE/static/site.css": CSS,
    "MODULE/static/favicon.svg": projects.ICON,
    ".env": "DEBUG=1\nMICROPIE_APP=MODULE.app:make_app\n",
    **IN_EACH,
}


def _words(arguments: Namespace, name: str) -> dict[str, str]:
    """Return the replacements for the placeholders (words in capitals) in the project's files."""
    module = name.replace("-", "_")
    parts, files = "`app.py` is the application", '"/*.py", "/templates", "/static"'
    if arguments.api:
        files = '"/*.py"'
        parts += ". `/docs` has its documentation."
    elif arguments.package:
        files = f'"/{module}"'
        parts = (
            f"`{module}/app.py` is the application. Its parts are in the other files in `{module}`."
        )
    else:
        parts += ", `templates/` has its pages, `static/` its other files."
    return {
        "VERSION": __version__,
        "PARTS": parts,
        "INSTALL": "\n    pip install ../micropie/swagger-ui" if arguments.api else "",
        "START": "docs" if arguments.api else "",
        "FILES": files,
        "MODULE": module,
        "NAME": name,
    }


# Matches names that a project may have in pyproject.toml.
_NAME = re.compile(r"[A-Za-z]([A-Za-z0-9_-]*[A-Za-z0-9])?")

NEXT = """Created {folder}. Next steps:

    cd {folder}
    pip install "../micropie[standard,test]"{pages}    # ../micropie is the clone
    micropie run --reload

To run its test and the checker:

    pytest
    micropie check"""


def execute(arguments: Namespace) -> int:
    """Write the files, and print the commands to run next."""
    if arguments.resource is not None:
        if arguments.name != "resource":
            raise CommandError(
                f"new takes one name, or `resource` and a name: `micropie new resource "
                f"{arguments.resource}`"
            )
        resource.add(arguments.resource)
        return 0
    folder = Path(arguments.name)
    name = folder.absolute().name if arguments.name else ""  # "." has the current folder's
    module = name.replace("-", "_")
    if not _NAME.fullmatch(name) or iskeyword(module):
        raise CommandError(
            f"{name!r} can't be the name of a project: a name has only ASCII letters, "
            "digits, - and _, begins with a letter, ends with a letter or a digit, and is not a "
            "Python keyword"
        )
    if module.lower() in ("micropie", "micropie_dual"):
        raise CommandError(f"{name!r} is the name of the framework: choose another name")
    found = find_spec(module) if arguments.package else None
    if found is not None and found.origin is not None:  # None for a folder without modules
        raise CommandError(f"{module!r} is the name of another module: choose another name")
    if any(folder.glob("*")):
        raise CommandError(f"{folder} already exists and is not empty")
    words = _words(arguments, name)
    texts = API if arguments.api else PACKAGE if arguments.package else SITE
    files = {folder / projects.filled(one, words): text for one, text in texts.items()}
    projects.write(str(folder), files, words)
    print(NEXT.format(folder=folder, pages=" ../micropie/swagger-ui" if arguments.api else ""))
    return 0
