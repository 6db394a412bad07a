"""The documentation is true: its Python runs, and its requests get the answers beside them.

A ``python`` block is a module of its own. An ``http`` block is a list of requests to the ``app`` of
the module above it: ``GET /path -> 200 the body``. A body to send stands after the path: JSON if it
begins with a brace, else a form.

Each page is one test. It runs every block of its page, and names the page and line of each block
that fails.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import shutil
import sys
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple
from urllib.parse import quote

import pytest

from micropie import App
from micropie._core.http.settings import Settings
from micropie.cli.main import main
from micropie.testing import TestClient
from tests.support.commands import ended
from tests.support.environment import ALONE, unmeasured
from tests.support.errors import said
from tests.support.modules import forget_temporary_modules, made_module

ROOT = Path(__file__).parents[2]
PAGES = [
    *sorted(ROOT.glob("*.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "tests" / "project" / "risks").glob("*.md")),
    ROOT / "tests" / "servers" / "cluster" / "FAULTS.md",
    ROOT / "scripts" / "RELEASE.md",
    *sorted((ROOT / "compat").glob("*.md")),
    *sorted((ROOT / "micropie" / "cli" / ".agents").rglob("*.md")),
    *sorted((ROOT / "benchmarks").glob("**/*.md")),
]

INCLUDED = re.compile(r'^--8<-- "(.+)"$', re.MULTILINE)
BLOCK = re.compile(r"^```(python|http)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
REQUEST = re.compile(
    r"(?P<method>[A-Z]+) (?P<target>\S+)(?: (?P<sent>.*?))? *-> (?P<status>\d+) ?(?P<body>.*)"
)


class Module(NamedTuple):
    """A ``python`` block, its place, the lines of the ``http`` block below it, each with its place,
    and the file that it includes.
    """

    place: str
    source: str
    requests: list[tuple[str, str]]
    file: Path | None = None


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def modules_of(page: Path) -> Iterator[Module]:
    text = page.read_text()
    name = name_of(page)
    blocks = [
        (found[1], found[2], text[: found.start(2)].count("\n")) for found in BLOCK.finditer(text)
    ]
    for index, (language, source, line) in enumerate(blocks):
        following, asked, first = blocks[index + 1] if index + 1 < len(blocks) else ("", "", 0)
        if language == "python":
            lines = asked.splitlines() if following == "http" else []
            requests = [
                (f"{name}:{number}", request) for number, request in enumerate(lines, first + 1)
            ]
            place, included = f"{name}:{line}", INCLUDED.search(source)
            if included is None:
                # The empty lines make a traceback's line numbers those of the page.
                yield Module(place, "\n" * line + source, requests)
            else:
                file = ROOT / included[1]
                if not file.name.startswith("test_"):  # tests/project/test_tutorial.py runs these
                    yield Module(f"{place}:{file.name}", file.read_text(), requests, file)


EVERY = {page: list(modules_of(page)) for page in PAGES}
MODULES = {
    page: modules
    for page, every in EVERY.items()
    if (modules := [one for one in every if "micropie_compat" not in one.source])
}
# compat/tests/test_guides.py runs these.
MIGRATED = {
    page: modules
    for page, every in EVERY.items()
    if (modules := [one for one in every if "micropie_compat" in one.source])
}


@contextmanager
def imported(module: Module) -> Iterator[dict[str, Any]]:
    """Yield the names of a module that has run, in a copy of its file's folder if it has one, as
    its author would.
    """
    if module.file is None:
        made = made_module("documentation")
        with pytest.MonkeyPatch.context() as patch:
            patch.setitem(sys.modules, made.__name__, made)  # where libraries look annotations up
            exec(compile(module.source, module.place, "exec", dont_inherit=True), vars(made))
            yield vars(made)
        return
    with (
        TemporaryDirectory(prefix="pytest-of-pages-") as above,
        pytest.MonkeyPatch.context() as patch,
    ):
        folder = Path(above, "project")
        shutil.copytree(
            module.file.parent, folder, ignore=shutil.ignore_patterns("__pycache__", "*.db")
        )
        patch.chdir(folder)
        patch.syspath_prepend(folder)
        forget_temporary_modules()
        yield vars(importlib.import_module(module.file.stem))
        forget_temporary_modules()


def check_each(modules: list[Module], check: Callable[[Module], None]) -> None:
    """Check each of these modules of a page.

    Raises all failures together, each with the page and the line of its block.
    """
    failures = []
    for module in modules:
        try:
            check(module)
        except Exception as error:
            error.add_note(f"in the block at {module.place}")
            failures.append(error)
    if failures:
        page = modules[0].place.partition(":")[0]
        raise ExceptionGroup(f"{page} is not true", failures)


def headers_of(sent: str) -> dict[str, str]:
    kind = "application/json" if sent.startswith("{") else "application/x-www-form-urlencoded"
    return {"Content-Type": kind} if sent else {}


def ask(client: TestClient, place: str, line: str) -> None:
    found = REQUEST.fullmatch(line)
    assert found, f"{place}: not a request: {line!r}"
    sent = found["sent"] or ""
    answer = client.request(
        found["method"], found["target"], content=sent, headers=headers_of(sent)
    )
    # of a default sentence, "404 Not Found"
    body = said(answer).removeprefix(f"{answer.status_code} ")
    got, expected = (
        f"{answer.status_code} {body}".strip(),
        f"{found['status']} {found['body']}".strip(),
    )
    pattern = ".*".join(map(re.escape, expected.split("...")))
    assert got == expected or re.fullmatch(pattern, got, re.DOTALL), f"{place}: {line}: {got}"


MARKUP = "<i>"
VALUE = re.compile("=[^&]*")
JSON_TEXT = re.compile(': "[^"]*"')


def hostile(line: str) -> Iterator[tuple[str, str, str]]:
    """Yield a documented request with markup instead of each segment, of each value of its
    query and its form.
    """
    found = REQUEST.fullmatch(line)
    assert found, f"not a request: {line!r}"
    path, _, query = found["target"].partition("?")
    sent = found["sent"] or ""
    segments = path.split("/")
    for index in range(1, len(segments)):
        hostile_path = "/".join([*segments[:index], quote(MARKUP), *segments[index + 1 :]])
        yield found["method"], f"{hostile_path}?{query}", sent
    yield found["method"], f"{path}?{VALUE.sub('=' + quote(MARKUP), query)}", sent
    is_json = sent.startswith("{")
    yield (
        found["method"],
        f"{path}?{query}",
        JSON_TEXT.sub(f': "{MARKUP}"', sent) if is_json else VALUE.sub(f"={MARKUP}", sent),
    )


def ask_hostile(client: TestClient, place: str, line: str) -> None:
    """Ask what is documented with markup in it, which must not be markup in the page that
    answers.
    """
    for method, target, sent in hostile(line):
        answer = client.request(method, target, content=sent, headers=headers_of(sent))
        is_page = answer.headers.get("content-type", "").startswith("text/html")
        assert not is_page or MARKUP not in answer.text, f"{place}: {method} {target} {sent}"


@pytest.mark.parametrize(
    "page",
    [
        pytest.param(page, marks=[pytest.mark.processes] if page.name == "processes.md" else [])
        for page in MODULES
    ],
    ids=name_of,
)
def test_the_examples_respond_as_documented_and_escape_client_text(
    page: Path, world: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    check_answers(MODULES[page], world, monkeypatch)


def check_answers(modules: list[Module], world: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Send the requests of a page's modules, as they are and with markup, and run their tests."""
    way: dict[str, Any] = {"protocol": "wsgi"} if world == "wsgi" else {"backend": world}
    monkeypatch.setattr("micropie.testing.TestClient", partial(TestClient, **way))
    monkeypatch.setenv("SECRET_KEY", "s" * 32)  # of deploy/several-machines.md

    def check(module: Module) -> None:
        with imported(module) as namespace:
            if module.requests:
                with TestClient(namespace["app"], raise_app_exceptions=False, **way) as client:
                    for place, line in module.requests:
                        ask(client, place, line)
            for name, function in namespace.items():
                needs_asgi = name.startswith("test_") and "websocket" in function.__code__.co_names
                if name.startswith("test_") and not (needs_asgi and world == "wsgi"):
                    mark = next(
                        (
                            mark
                            for mark in getattr(function, "pytestmark", ())
                            if mark.name == "parametrize"
                        ),
                        None,
                    )
                    for arguments in [[value] for value in mark.args[1]] if mark else [[]]:
                        function(*arguments)
            if module.requests:
                with TestClient(namespace["app"], raise_app_exceptions=False, **way) as client:
                    for place, line in module.requests:
                        ask_hostile(client, place, line)

    check_each(modules, check)


@pytest.mark.processes
def test_an_example_test_copied_alone_runs(tmp_path: Path) -> None:
    for module in [one for modules in MODULES.values() for one in modules]:
        if not re.search("^def test_", module.source, re.MULTILINE):
            continue
        name = re.sub(r"\W", "_", module.place)
        (tmp_path / f"test_{name}.py").write_text(module.source)
    command = [sys.executable, "-m", "pytest", "-q", *ALONE]
    done = ended(*command, folder=tmp_path, environ=unmeasured())
    assert done.returncode == 0, done.stdout + done.stderr


COMMAND = re.compile(r"^    \$ micropie (\w+)\n((?:    .+\n)+)", re.MULTILINE)
COMMANDS = [
    (page, *found.groups(), text[: found.start()])
    for page in [
        *sorted((ROOT / "docs" / "start").glob("*.md")),
        *sorted((ROOT / "docs" / "tutorial").glob("*.md")),
    ]
    for text in [page.read_text()]
    for found in COMMAND.finditer(text)
    if found[1] in ("routes", "check")
]


@pytest.mark.processes
@pytest.mark.parametrize(
    ("page", "command", "output", "before"), COMMANDS, ids=lambda value: getattr(value, "stem", "")
)
def test_a_command_prints_the_documented_output(
    tmp_path: Path, page: Path, command: str, output: str, before: str
) -> None:
    *_, (_, source) = BLOCK.findall(before.replace("```http", "```python3"))
    included = INCLUDED.search(source)
    if included is None:
        (tmp_path / "app.py").write_text(source)
    else:
        shutil.copytree((ROOT / included[1]).parent, tmp_path, dirs_exist_ok=True)
    arguments = [sys.executable, "-m", "micropie", command]
    done = ended(*arguments, folder=tmp_path, environ=unmeasured())
    assert done.stdout.splitlines() == [line.strip() for line in output.splitlines()], done.stderr


def test_every_code_block_is_of_a_known_kind() -> None:
    """A block of Python with anything behind the word would not be run."""
    kinds = {
        kind
        for page in PAGES
        for kind in re.findall(r"^ *```(.+)$", page.read_text(), re.MULTILINE)
    }
    assert kinds <= {
        "python",
        "http",
        "html",
        "html+jinja",
        "css",
        "ini",
        "nginx",
        "dockerfile",
        "yaml",
        "text",
    }


def test_python_code_in_text_blocks_can_be_compiled() -> None:
    """They need a cluster, or another module, and do not run."""
    for page in PAGES:
        for source in re.findall(
            r"^```text\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL
        ):
            if re.search(r"^(from|import) ", source, re.MULTILINE):
                compile(source, str(page), "exec", dont_inherit=True)


def test_the_table_of_settings_is_complete() -> None:
    page = (ROOT / "docs" / "settings.md").read_text()
    stated = {*re.findall(r"^\|`(\w+)`\|`(.+?)`\|", page, re.MULTILINE)}
    rows = {(name, repr(value)) for name, value in vars(Settings()).items()}
    assert stated ^ rows == set(), "give each setting of Settings a row with its default"
    others = re.findall(r"^- `(\w+)`: ", page, re.MULTILINE)
    assert {*others, "settings", "self"} == inspect.signature(App.__init__).parameters.keys()


def test_the_table_of_extras_is_complete() -> None:
    page = (ROOT / "docs" / "start" / "install.md").read_text()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert re.findall(r"^\|`(\w+)`\|", page, re.MULTILINE) == [*project["optional-dependencies"]]


@pytest.mark.parametrize("command", ["", "run", "routes", "check", "new", "shell"])
def test_the_page_of_the_command_line_has_every_option(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main([*command.split(), "--help"])
    options = set(re.findall(r"^  .*?(--[\w-]+)", capsys.readouterr().out, re.MULTILINE)) - {
        "--help"
    }
    page = (ROOT / "docs" / "command-line.md").read_text()
    assert [
        option for option in options if f"{option} " not in page and f"{option}`" not in page
    ] == []


def test_links_within_the_project_are_valid() -> None:
    broken = []
    for page in PAGES:
        for path, anchor in re.findall(r"\]\(([^)#:]*)(?:#([^)]+))?\)", page.read_text()):
            target = page.parent / path if path else page
            if not target.exists() or (
                anchor and target.suffix == ".md" and anchor not in anchors(target)
            ):
                broken.append(f"{name_of(page)}: {path}#{anchor}")
    assert not broken


@cache
def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them, and of the names that the
    site documents there.
    """
    text = BLOCK.sub("", page.read_text())
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    made = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
    return made | set(re.findall(r"^::: (\S+)(?: -)?$", text, re.MULTILINE))


def test_the_changelog_begins_with_this_version() -> None:
    import micropie

    first = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert first is not None
    assert first[1] == micropie.__version__


def unescaped(source: str) -> list[str]:
    """Return the names of handlers that put a client's text into an f-string, which is sent as
    HTML.
    """
    tree, found = ast.parse(source), list[str]()
    for cls in (one for one in ast.walk(tree) if isinstance(one, ast.ClassDef)):
        functions = (ast.FunctionDef, ast.AsyncFunctionDef)
        for function in (one for one in cls.body if isinstance(one, functions)):
            above = " ".join(map(ast.unparse, function.decorator_list))
            if re.search(r"\bcommand\b|\bexpose\b", above) or "App" not in map(
                ast.unparse, cls.bases
            ):
                continue
            texts = {
                one.arg
                for one in [*function.args.args[1:], *function.args.kwonlyargs]
                if f"<{one.arg}:int>" not in above.replace("'", "")
                and (one.annotation is None or ast.unparse(one.annotation) == "str")
            }
            returned = (one.value for one in ast.walk(function) if isinstance(one, ast.Return))
            for text in (one for one in returned if isinstance(one, ast.JoinedStr)):
                shown = {one.id for one in ast.walk(text) if isinstance(one, ast.Name)}
                calls = {
                    ast.unparse(one.func) for one in ast.walk(text) if isinstance(one, ast.Call)
                }
                if shown & texts and "escape" not in calls:
                    found.append(function.name)
    return found


def test_no_example_sends_client_text_as_html() -> None:
    """Also the first examples of ``help(App)``, testing.md and middleware.md."""
    modules = [one for several in EVERY.values() for one in several]
    plain = [one for one in modules if 'text="plain"' not in one.source]
    assert {one.place: found for one in plain if (found := unescaped(one.source))} == {}
    assert 'return html("Hello, {}!", name)' in str(App.__doc__)
    example = 'class Root(App):\n    def greet(self, name):\n        return f"Hello, {name}!"'
    assert unescaped(example) == ["greet"]
