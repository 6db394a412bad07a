"""``micropie new resource NAME``: add a resource to a project that ``micropie new`` has created. It
has a table, pages with forms, a JSON API and tests.
"""

from __future__ import annotations

import re
import sqlite3
import sys
from contextlib import closing
from importlib.util import find_spec
from keyword import iskeyword
from pathlib import Path

from micropie import App
from micropie.cli.projects import filled, write
from micropie.cli.target import CommandError

MODULE = '''"""The pages under /PLURAL, and the JSON API under /PLURAL/api.

Anybody may change the PLURAL: write ``@requires(...)`` above the handlers that change them.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Generator
from contextlib import closing, contextmanager
from typing import Annotated

from micropie import (
    App,
    BindingErrors,
    HTTPError,
    Redirect,
    delete,
    describe,
    flash,
    get,
    post,
    put,
    route,
)
from msgspec import Meta, Struct

FILE = os.environ.get("DATABASE", "data.db")
SCHEMA = """
create table if not exists PLURAL (
    number integer primary key, name text not null, price integer not null
)
"""


class NewITEM(Struct):
    """A field needs a column, a place in the methods of the table, and an input in form.html."""

    name: Annotated[str, Meta(min_length=1, max_length=80)]
    price: Annotated[int, Meta(ge=0)] = 0


class ITEM(NewITEM, kw_only=True):
    number: int


class CLASSTable:
    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def all(self) -> list[ITEM]:
        rows = self._db.execute("select number, name, price from PLURAL order by number")
        return [ITEM(name, price, number=number) for number, name, price in rows]

    def get(self, number: int) -> ITEM:
        row = self._db.execute(
            "select name, price from PLURAL where number = ?", [number]
        ).fetchone()
        if row is None:
            raise HTTPError(404, "It doesn't exist.")
        return ITEM(*row, number=number)

    def add(self, new: NewITEM) -> ITEM:
        added = self._db.execute(
            "insert into PLURAL (name, price) values (?, ?)", [new.name, new.price]
        )
        return ITEM(new.name, new.price, number=added.lastrowid or 0)

    def change(self, number: int, new: NewITEM) -> ITEM:
        self._db.execute(
            "update PLURAL set name = ?, price = ? where number = ?", [new.name, new.price, number]
        )
        return self.get(number)

    def remove(self, number: int) -> None:
        self.get(number)
        self._db.execute("delete from PLURAL where number = ?", [number])


@contextmanager
def open_table() -> Generator[CLASSTable, None, None]:
    # check_same_thread: a request's handlers, and what closes the file, may run in two threads
    with closing(sqlite3.connect(FILE, timeout=30, check_same_thread=False)) as db, db:
        db.execute(SCHEMA)
        yield CLASSTable(db)  # then commit, or roll back after an exception


class Api(App):
    def __init__(self) -> None:
        super().__init__(errors="json")

    @get("/")
    def all(self, table: CLASSTable) -> list[ITEM]:
        return table.all()

    @post("/")
    @describe(status=201)
    def add(self, new: NewITEM, table: CLASSTable) -> tuple[int, ITEM]:
        return 201, table.add(new)

    @get("/<number:int>")
    def show(self, number: int, table: CLASSTable) -> ITEM:
        return table.get(number)

    @put("/<number:int>")
    def change(self, number: int, new: NewITEM, table: CLASSTable) -> ITEM:
        return table.change(number, new)

    @delete("/<number:int>")
    @describe(status=204)
    def remove(self, number: int, table: CLASSTable) -> tuple[int, None]:
        table.remove(number)
        return 204, None


class CLASS(App):
    api = Api()

    def __init__(self) -> None:
        super().__init__()
        self.provides(CLASSTable)(open_table)

    @get
    def index(self, table: CLASSTable) -> str:
        return self.render("PLURAL/list.html", rows=table.all())

    @route("/new", methods=["GET", "POST"])
    def new(
        self, table: CLASSTable, errors: BindingErrors, new: NewITEM | None = None
    ) -> tuple[int, str] | Redirect:
        if new is None or errors:
            return self._form(errors)
        table.add(new)
        return self._saved()

    @route("/<number:int>", methods=["GET", "POST"])
    def edit(
        self, number: int, table: CLASSTable, errors: BindingErrors, new: NewITEM | None = None
    ) -> tuple[int, str] | Redirect:
        errors.fill(table.get(number))
        if new is None or errors:
            return self._form(errors)
        table.change(number, new)
        return self._saved()

    @post("/<number:int>/remove")
    def remove(self, number: int, table: CLASSTable) -> Redirect:
        table.remove(number)
        return self._saved()

    def _form(self, errors: BindingErrors) -> tuple[int, str]:
        return 422 if errors else 200, self.render("PLURAL/form.html", errors=errors)

    def _saved(self) -> Redirect:
        flash("Saved.")
        return Redirect(self.url_for("index"))
'''

LIST = """{% extends "layout.html" %}
{% block title %}CLASS{% endblock %}
{% block main %}
<h1>CLASS</h1>
<table>
{% for row in rows %}
<tr>
  <td><a href="{{ url_for('edit', number=row.number) }}">{{ row.name }}</a></td>
  <td>{{ row.price }}</td>
  <td><form method="post" action="{{ url_for('remove', number=row.number) }}">
    {{ csrf_input }}<button>Remove</button>
  </form></td>
</tr>
{% endfor %}
</table>
<p><a href="{{ url_for('new') }}">Add</a></p>
{% endblock %}
"""

FORM = """{% extends "layout.html" %}
{% block title %}CLASS{% endblock %}
{% macro field(name, label) %}
<p><label>{{ label }} <input name="{{ name }}" value="{{ errors.given[name] }}" {{ kwargs|xmlattr }}></label>
{% if errors[name] %}<em class="error">{{ errors[name] }}</em>{% endif %}</p>
{% endmacro %}
{% block main %}
<h1>ITEM</h1>
<form method="post">
  {{ csrf_input }}
  {{ field("name", "Name", required="required") }}
  {{ field("price", "Price", type="number", min=0) }}
  <button>Save</button>
</form>
{% endblock %}
"""  # noqa: E501

TEST = '''"""Run with ``pytest``."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from micropie.testing import TestClient

import IMPORTED
from APPLICATION


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    monkeypatch.setattr(IMPORTED, "FILE", str(tmp_path / "test.db"))
    with TestClient(CALLED) as client:
        yield client


def test_the_pages_add_change_and_remove(client: TestClient) -> None:
    answer = client.post_form("/PLURAL/new", {"name": "<plum>", "price": "-1"})
    assert answer.status_code == 422
    assert 'value="&lt;plum&gt;"' in answer.text
    client.post_form("/PLURAL/new", {"name": "<plum>", "price": "4"})
    assert "&lt;plum&gt;" in client.get("/PLURAL").text
    client.post_form("/PLURAL/1", {"name": "cherry", "price": "5"})
    assert 'value="cherry"' in client.get("/PLURAL/1").text
    client.post_form("/PLURAL")  # its first button removes
    assert "cherry" not in client.get("/PLURAL").text
    assert client.get("/PLURAL/1").status_code == 404


def test_the_api_adds_changes_and_removes(client: TestClient) -> None:
    made = client.post("/PLURAL/api", json={"name": "plum"})
    assert (made.status_code, made.json()) == (201, {"name": "plum", "price": 0, "number": 1})
    changed = client.put("/PLURAL/api/1", json={"name": "plum", "price": 4})
    assert client.get("/PLURAL/api/1").json() == changed.json()
    assert client.get("/PLURAL/api").json() == [changed.json()]
    assert client.post("/PLURAL/api", json={"name": ""}).status_code == 400
    assert client.delete("/PLURAL/api/1").status_code == 204
    assert client.delete("/PLURAL/api/1").status_code == 404
'''

NEXT = """Created CREATED. To add them to the application, write into APP:

    from IMPORTED import CLASS

and into its class:

    PLURAL = CLASS()"""


def add(name: str) -> None:
    """Write the files, and print how to add the resource to the application."""
    _check_name(name)
    apps = [Path("app.py")] if Path("app.py").exists() else [*Path().glob("*/app.py")]
    folder = apps[0].parent if len(apps) == 1 else Path()
    if len(apps) != 1 or not (folder / "templates" / "layout.html").exists():
        raise CommandError(
            "a resource needs app.py and templates/layout.html: run this command in the folder of "
            "a project that `micropie new pies` or `micropie new pies --package` has created"
        )
    package = f"{folder}." if folder.name else ""
    words = {
        "PLURAL": name,
        "CLASS": _in_camel_case(name),
        "ITEM": _in_camel_case(_singular(name)),
        "IMPORTED": f"{package}{name}",
        "APPLICATION": f"{package}app import {'make_app' if package else 'app'}",
        "CALLED": "make_app({})" if package else "app",
    }
    tests = Path("tests") if package else Path()
    files = {
        folder / f"{name}.py": MODULE,
        folder / "templates" / name / "list.html": LIST,
        folder / "templates" / name / "form.html": FORM,
        tests / f"test_{name}.py": TEST,
    }
    for file in files:
        if file.exists():
            raise CommandError(f"{file} already exists")
    if not package and find_spec(name) is not None:
        raise CommandError(f"{name!r} is the name of an installed module: choose another name")
    if not {words["CLASS"], words["ITEM"]}.isdisjoint(re.findall(r"\w+", MODULE)):
        raise CommandError(
            "one of its classes would have a name that the module imports: choose another"
        )
    try:
        with closing(sqlite3.connect(":memory:")) as db:
            db.execute(f"create table {name} (number)")
    except sqlite3.OperationalError as error:
        raise CommandError(f"{name!r} can't be the name of a table: {error}") from None
    write(name, files, words)
    created = ", ".join(map(str, files))
    print(filled(NEXT, {**words, "CREATED": created, "APP": str(apps[0])}))


def _check_name(name: str) -> None:
    if not re.fullmatch("[a-z][a-z0-9_]*", name) or iskeyword(name):
        raise CommandError(
            f"{name!r} can't be the name of a resource: a name has only small letters, digits and "
            "_, such as pies, and is not a Python keyword"
        )
    if name in sys.stdlib_module_names:
        raise CommandError(f"{name!r} is the name of a Python module: choose another name")
    if name in ("index", *dir(App())):
        raise CommandError(f"an application has another attribute {name!r}: choose another name")


def _in_camel_case(name: str) -> str:
    return "".join(part.capitalize() for part in name.split("_"))


def _singular(name: str) -> str:
    if len(name) > len("pies") and name.endswith("ies"):
        return f"{name[:-3]}y"
    return name[:-1] if re.search("[^s]s$", name) else f"{name}_item"
