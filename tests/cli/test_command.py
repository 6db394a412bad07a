"""The commands that an application has of its own: ``micropie -a shop:app init-db``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from micropie import App, SetupError, command
from micropie.cli.main import main
from micropie.testing import TestClient
from tests.support.modules import forget_temporary_modules

SHOP = """
import logging
from contextlib import asynccontextmanager
from enum import Enum
from functools import wraps
from typing import Annotated

from micropie import App, Header, HTTPError, Request, UploadFile, command, request, run_in, where


class Db:
    pass


class Page:
    pass


class Speed(Enum):
    fast = "fast"
    slow = "slow"


class Blog(App):
    @command
    def init_db(self, db: Db):
        return f"{self.url_for('index')} {self.root.state.pool} {self.request.path}"

    def index(self):
        return ""


def shouting(function):
    @wraps(function)
    def shout(*arguments, **options):
        return function(*arguments, **options).upper()

    return shout


class Shop(App):
    def __init__(self, **settings):
        super().__init__(**settings)
        self.blog = Blog()

    @asynccontextmanager
    async def lifespan(self):
        yield {"pool": where()}
        print("stopped")

    @command
    async def init_db(self, db: Db, copies: int, name: str = "100%", *, drop: bool = False, deep: bool = True):
        \"""Make the tables.

        All of them.
        \"""
        print(where(), request.path, self.state.pool)
        return copies, name, drop, deep

    @command
    @staticmethod
    def bake(tags: list[str], sizes: list[int] = (), speed: Speed = Speed.fast, *, oven: str, limit_: float = None):
        return tags, sizes, speed.name, oven, limit_

    @command
    def several(self, first: int, second="b", *rest: int, third=3):
        return first, second, rest, third

    @command
    @run_in("loop")
    def quietly(self, asked: Request, **more):
        print(asked.path, more)

    @command
    def page(self, page: Page):
        return page

    @command
    @shouting
    def loud(self, word):
        return word

    @command
    def bare(self, db: Db):
        raise KeyError("gone")

    @command
    async def refuses(self, db: Db):
        raise HTTPError(404, "There is no such pie.")

    @command
    def declines(self):
        raise HTTPError(409, "There is one already.")

    @command
    def misuses(self):
        return App(debgu=True)

    @command
    def breaks(self):
        raise KeyError("gone")

    @command
    def leaves(self, db: Db):
        raise SystemExit(3)

    @command
    def wrong(self, complex: complex):
        pass

    @command
    def generates(self):
        yield 1

    @command
    async def streams(self):
        yield 1

    @command
    def uploads(self, file: UploadFile):
        pass

    @command
    def later(self):
        self.request.after_response(print, "later")

    def not_one(self):
        return "a handler"


def make_app(**settings):
    app = Shop(**settings)

    @app.provides(Db)
    async def db():
        try:
            yield Db()
        except KeyError:
            print("seen")
            raise
        finally:
            print("closed")

    @app.provides(Page)
    def page(db: Db, asked: Request, agent: Annotated[str, Header("user-agent")] = "none", copies: int = 2):
        return agent, copies

    @app.command
    def add_user(name):
        return f"{name} {request.query['name']}"

    return app


app = make_app()
pooled = make_app(run_in="process", portal_backend="trio")
"""


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "shop15.py").write_text(SHOP)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    forget_temporary_modules()


CALLS = [
    ("init-db 5", "loop / loop\nclosed\nstopped\n(5, '100%', False, True)"),
    (
        "init-db 5 --name x&y=ü --drop --no-deep",
        "loop / loop\nclosed\nstopped\n(5, 'x&y=ü', True, False)",
    ),
    ("bake a b --oven hot", "stopped\n(['a', 'b'], (), 'fast', 'hot', None)"),
    (
        "bake a --sizes 1 --sizes 2 --oven x --speed slow --limit .5",
        "stopped\n(['a'], [1, 2], 'slow', 'x', 0.5)",
    ),
    ("several 1", "stopped\n(1, 'b', (), 3)"),
    ("several 1 c 4 5 --third x", "stopped\n(1, 'c', (4, 5), 'x')"),
    ("quietly", "/ {}\nstopped"),
    ("page", "closed\nstopped\n('none', 2)"),
    ("page --copies 4", "closed\nstopped\n('none', 4)"),
    ("loud pie", "stopped\nPIE"),
    ("add-user Ann", "stopped\nAnn Ann"),
    ("blog.init-db", "closed\nstopped\n/blog/ loop /"),
    ("later", "later\nstopped"),
]


@pytest.mark.usefixtures("shop")
@pytest.mark.parametrize("app", ["app", "pooled"])
@pytest.mark.parametrize(("words", "output"), CALLS, ids=[words for words, _ in CALLS])
def test_a_command_gets_arguments_resources_and_the_started_application(
    app: str, words: str, output: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--app", f"shop15:{app}", *words.split()]) == 0
    assert capsys.readouterr().out.rstrip() == output


def test_without_a_command_the_help_lists_them(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([])
    assert ended.value.code == 0
    assert "create a small project" in capsys.readouterr().out


FAILURES = [
    ("init-db", 2, "the following arguments are required: copies"),
    ("init-db x", 2, "micropie -a APP init-db: error: copies must be a whole number\n"),
    (
        "bake a --oven x --speed quick --sizes y",
        2,
        "sizes must be a list, each a whole number; speed must be one of fast, slow\n",
    ),
    ("several a", 2, "first must be a whole number\n"),
    ("page --copies many", 2, "copies must be a whole number\n"),
    ("refuses", 2, "micropie: There is no such pie.\n"),
    ("declines", 2, "micropie: There is one already.\n"),
    ("misuses", 2, "micropie: App has no setting 'debgu'; do you mean debug?\n"),
    ("leaves", 3, ""),
    (
        "wrong 1",
        2,
        "micropie: Shop.wrong: parameter 'complex': it is annotated with <class 'complex'>, and micropie can't",
    ),
    (
        "generates",
        2,
        "micropie: generates is a generator, but values that a command yields are discarded: print them\n",
    ),
    (
        "streams",
        2,
        "micropie: streams is a generator, but values that a command yields are discarded: print them\n",
    ),
    (
        "uploads",
        2,
        "micropie: uploads: 'file' takes a file, which a command line can't pass: declare parameters for plain values, such as path: str\n",
    ),
    ("ini-db", 2, "micropie: Shop has no command 'ini-db'; do you mean init-db?\n"),
    ("xyzzy", 2, "micropie: Shop has no command 'xyzzy'; there are: init-db, bake, "),
]


@pytest.mark.usefixtures("shop")
@pytest.mark.parametrize(
    ("words", "status", "error"), FAILURES, ids=[words for words, *_ in FAILURES]
)
def test_an_error_is_printed_in_one_sentence(
    words: str, status: int, error: str, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        code: Any = main(["-a", "shop15", *words.split()])
    except SystemExit as end:
        code = end.code
    printed = capsys.readouterr()
    assert (code, error in printed.err) == (status, True)
    assert "Traceback" not in printed.err
    assert "@hidden" not in printed.err  # a command is no handler anyway
    assert ("closed" in printed.out) == (words in ("refuses", "leaves"))


@pytest.mark.usefixtures("shop")
@pytest.mark.parametrize(
    ("name", "output"), [("bare", "seen\nclosed\nstopped\n"), ("breaks", "stopped\n")]
)
def test_a_traceback_begins_at_the_command_s_own_lines(
    name: str, output: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["-a", "shop15", name]) == 1
    printed = capsys.readouterr()
    assert printed.out == output
    assert printed.err.startswith('Traceback (most recent call last):\n  File "')
    assert f"in {name}\n" in printed.err.splitlines(keepends=True)[1]
    assert printed.err.endswith("KeyError: 'gone'\n")


REPORTING = """
import os
import sys
from micropie import App, HTTPError, command

def report(error):
    print("told of", repr(error))
    if "twice" in str(error):
        raise ValueError("no network")

class Blog(App):
    @command
    def breaks(self, what="gone"):
        raise KeyError(what)

    @command
    def refuses(self):
        raise HTTPError(404, "There is no such text.")

    @command
    def lists(self):
        reader, writer = os.pipe()
        os.close(reader)
        sys.stdout = os.fdopen(writer, "w", buffering=1)
        print("a text")

    @command
    def sends(self):
        raise BrokenPipeError("mail")

class Shop(App):
    blog = Blog()

app = Shop(on_error=report)
"""


@pytest.mark.parametrize(
    ("words", "status", "told", "errors"),
    [
        ("blog.breaks", 1, "told of KeyError('gone')\n", "KeyError: 'gone'\n"),
        ("blog.breaks --what twice", 1, "told of KeyError('twice')\n", "ValueError: no network\n"),
        ("blog.refuses", 2, "", "micropie: There is no such text.\n"),
        ("blog.lists", 1, "", ""),  # a program that reads the output, such as head, has exited
        ("blog.sends", 1, "told of BrokenPipeError('mail')\n", "BrokenPipeError: mail\n"),
    ],
)
def test_on_error_gets_the_failure_of_a_command(
    words: str,
    status: int,
    told: str,
    errors: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "reporting.py").write_text(REPORTING)
    output = sys.stdout
    monkeypatch.setattr(sys, "stdout", output)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    forget_temporary_modules()
    assert main(["-a", "reporting", *words.split()]) == status
    if sys.stdout is not output:
        sys.stdout.close()
    printed = capsys.readouterr()
    assert printed.out == told
    assert printed.err.endswith(errors)
    assert printed.err.startswith("Traceback") == (status == 1 and told != "")
    assert ("on_error failed: Traceback" in printed.err) == ("twice" in words)


@pytest.mark.usefixtures("shop")
def test_the_commands_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["-a", "shop15"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "init-db       Make the tables."
    assert "blog.init-db" in lines
    with pytest.raises(SystemExit, match="0"):
        main(["-a", "shop15", "init-db", "--help"])
    shown = capsys.readouterr().out
    assert "usage: micropie -a APP init-db [-h] [--name NAME]" in shown
    assert "Make the tables.\n\nAll of them." in shown
    assert "default: '100%'" in shown


@pytest.mark.usefixtures("shop")
def test_check_reports_a_command_that_cannot_be_called(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", "shop15"]) == 1
    note, *found = capsys.readouterr().out.splitlines()
    assert note.startswith(
        "note: handlers without a decorator (blog.index, not_one) also accept DELETE"
    )
    named = [
        line.partition(": ")[2].partition(" is a generator")[0].partition(":")[0] for line in found
    ]
    assert named == ["Shop.wrong", "generates", "streams", "uploads", ""]
    assert all(line.startswith("shop15.py:") for line in found[:-1])
    source = "from micropie import App\napp = App()\n@app.command\ndef a(): pass\n@app.command\ndef a_(): pass\n"
    (tmp_path / "twice17.py").write_text(source)
    assert main(["check", "twice17"]) == 1
    given = capsys.readouterr().out
    assert given == "two commands are named a: rename one of the functions\n1 finding\n"
    (tmp_path / "own17.py").write_text(source.replace("a()", "run()", 1).replace("a_()", "new()"))
    assert main(["check", "own17"]) == 1
    assert capsys.readouterr().out == (
        "own17.py:3: `micropie run` is micropie's own command: rename the function\n"
        "own17.py:5: `micropie new` is micropie's own command: rename the function\n2 findings\n"
    )


def test_an_application_without_commands_suggests_how_to_add_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "app.py").write_text("from micropie import App\napp = App()\n")
    monkeypatch.chdir(tmp_path)
    forget_temporary_modules()
    assert main(["-a", "app"]) == 0
    sentence = (
        "micropie: App has no command 'init-db'; to add one, write @app.command above a function\n"
    )
    for words in (["-a", "app", "init-db"], ["init-db"]):
        assert main(words) == 2
        assert capsys.readouterr() == ("", sentence)
    assert main(["-a", "app", "check"]) == 0  # also where one of micropie's own commands takes it
    assert main(["-a", "nowhere", "init-db"]) == 2
    monkeypatch.setenv("MICROPIE_APP", "nowhere2")
    assert main(["init-db"]) == 2
    assert "there is no module 'nowhere2'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("word", "advice"),
    [
        ("rn", "do you mean run? To run a command of an"),
        ("xyzzy", "there are: run, routes, check, new, shell, completion. To run a command of an"),
    ],
)
def test_an_unknown_command_is_reported(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    word: str,
    advice: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    forget_temporary_modules()
    monkeypatch.setattr(
        "sys.path", [path for path in __import__("sys").path if "pytest-of-" not in path]
    )
    assert main([word, "--drop"]) == 2
    sentence = f"micropie: there is no command {word!r}; {advice} application, write micropie -a shop:app {word}. No "
    assert capsys.readouterr().err.startswith(sentence)


def test_two_commands_with_the_same_name_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    source = "from micropie import App\napp = App()\n@app.command\ndef a(): pass\n@app.command\ndef a_(): pass\n"
    (tmp_path / "twice16.py").write_text(source)
    monkeypatch.chdir(tmp_path)
    assert main(["-a", "twice16:app", "a"]) == 2
    found = capsys.readouterr().err
    assert found == "micropie: two commands are named a: rename one of the functions\n"


def test_a_command_is_not_a_url() -> None:
    class Shop(App):
        @command
        def init_db(self) -> str:
            return "made"

    class Store(Shop):  # an override without the decorator is a handler
        def init_db(self) -> str:
            return "handler"

    with TestClient(Shop()) as client:
        assert client.get("/init_db").status_code == 404
    with TestClient(Store()) as client:
        assert client.get("/init_db").text == "handler"
    with pytest.raises(SetupError, match="write @command above a function, without parentheses"):
        command()  # type: ignore[call-arg]


OPTIONAL = """
from typing import Annotated, List

from micropie import App, Query, command


class Oven: ...


class Kitchen: ...


class Root(App):
    @command
    def bake(
        self,
        kitchen: Kitchen,
        *,
        dry: bool | None = None,
        kinds: Annotated[List[str], "of pies"] = (),
        counts: list[int] | None = None,
    ):
        return dry, kinds, counts


app = Root()


@app.provides(Oven)
def oven(*, degrees: int = 180):
    return Oven()


@app.provides(Kitchen)
def kitchen(oven: Oven, *, floor: int = 1):
    return Kitchen()
"""


def test_an_option_may_be_optional_or_a_list(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "optional1.py").write_text(OPTIONAL)
    monkeypatch.chdir(tmp_path)
    forget_temporary_modules()
    words = ["--no-dry", "--kinds", "a", "--kinds", "b", "--counts", "1", "--counts", "2"]
    assert main(["-a", "optional1:app", "bake", *words]) == 0
    assert main(["-a", "optional1:app", "bake"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines == ["(False, ['a', 'b'], [1, 2])", "(None, (), None)"]
    with pytest.raises(SystemExit):
        main(["-a", "optional1:app", "bake", "--help"])
    shown = capsys.readouterr().out
    places = [shown.index(f"--{name}") for name in ("dry", "counts", "degrees", "floor")]
    assert places == sorted(places)


STATED = """
from dataclasses import dataclass
from typing import Annotated

from micropie import App, Query, command


@dataclass
class Filter:
    shade: str = "any"


class Oven: ...


class Root(App):
    @command
    def bake(self, number: int, page: Annotated[int, Query("p")], *, oven: Oven):
        return number, page, oven

app = Root()


@app.provides(Oven)
def oven(wanted: Annotated[Filter, Query()], degrees: Annotated[int, Query("heat")] = 180):
    return wanted.shade, degrees
"""


def test_a_value_of_the_query_is_an_option(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "stated1.py").write_text(STATED)
    monkeypatch.chdir(tmp_path)
    forget_temporary_modules()
    assert main(["-a", "stated1:app", "bake", "1", "--page", "2"]) == 0
    assert main(["-a", "stated1:app", "bake", "1", "--page", "2", "--degrees", "90"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines == ["(1, 2, ('any', 180))", "(1, 2, ('any', 90))"]
    with pytest.raises(SystemExit):
        main(["-a", "stated1:app", "bake", "1"])
    assert "the following arguments are required: --page" in capsys.readouterr().err


COLLECTIONS = """
from collections.abc import Sequence
from typing import Annotated, Optional, Set

from micropie import App, command


class Root(App):
    @command
    def bake(
        self,
        numbers: tuple[int, ...],
        *,
        tags: set[str] = frozenset(),
        kinds: "Optional[Annotated[frozenset[str], 'of pies']]" = None,
        sizes: Sequence[int] = (),
        notes: tuple = (),
    ):
        return numbers, sorted(tags), sorted(kinds or ()), sizes, notes

    @command
    def help_me(self, *, topic: str = "", {name}: str = ""):
        return topic


app = Root()
"""


def test_each_collection_takes_several_values(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "several1.py").write_text(COLLECTIONS.format(name="more"))
    monkeypatch.chdir(tmp_path)
    forget_temporary_modules()
    options = [
        f"--{name}={value}" for name in ("tags", "kinds", "sizes", "notes") for value in (1, 2)
    ]
    assert main(["-a", "several1:app", "bake", "3", "4", *options]) == 0
    shown = "((3, 4), ['1', '2'], ['1', '2'], [1, 2], ('1', '2'))\n"
    assert capsys.readouterr().out == shown


@pytest.mark.parametrize("name", ["help", "topic_"])
def test_an_option_that_exists_already_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    (tmp_path / "options1.py").write_text(COLLECTIONS.format(name=name))
    monkeypatch.chdir(tmp_path)
    forget_temporary_modules()
    sentence = (
        f"help-me: the option for {name!r} exists already, such as --help: rename the parameter"
    )
    assert main(["-a", "options1:app", "help-me"]) == 2
    assert capsys.readouterr().err == f"micropie: {sentence}\n"
    assert main(["check", "options1:app"]) == 1
    assert sentence in capsys.readouterr().out
    assert main(["completion", "--line", "micropie -a options1:app help-me --"]) == 2
