"""The documentation is true: its Python runs, and its requests get the answers beside them.

A ``python`` block is a module of its own. An ``http`` block is a list of requests to the ``app`` of the module above
it: ``GET /path -> 200 the body``. A body to send stands after the path: JSON if it begins with a brace, else a form.
"""

from __future__ import annotations

import importlib
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import pytest

from micropie.routing.settings import Settings
from micropie.testing import TestClient
from tests.support.environment import ALONE, unmeasured
from tests.support.errors import said
from tests.support.modules import forget_temporary_modules

ROOT = Path(__file__).parent.parent
PAGES = [
    ROOT / "README.md",
    ROOT / "ARCHITECTURE.md",
    *sorted((ROOT / "docs").rglob("*.md")),
]

INCLUDED = re.compile(r'^--8<-- "(.+)"$', re.MULTILINE)
BLOCK = re.compile(r"^```(python|http)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
REQUEST = re.compile(r"(?P<method>[A-Z]+) (?P<target>\S+)(?: (?P<sent>.*?))? *-> (?P<status>\d+) ?(?P<body>.*)")

WAYS = [{"protocol": "wsgi"}, {"backend": "asyncio"}, {"backend": "trio"}]


class Module(NamedTuple):
    """A ``python`` block, the ``http`` block below it, "" without one, and the file that it includes."""

    place: str
    source: str
    requests: str
    file: Path | None = None


def modules() -> Iterator[Module]:
    for page in PAGES:
        text = page.read_text()
        blocks = [(found[1], found[2], text[: found.start(2)].count("\n")) for found in BLOCK.finditer(text)]
        for index, (language, source, line) in enumerate(blocks):
            following = blocks[index + 1] if index + 1 < len(blocks) else ("", "", 0)
            if language == "python":
                # The empty lines make a traceback's line numbers those of the page.
                requests = following[1] if following[0] == "http" else ""
                place, included = f"{page.relative_to(ROOT)}:{line}", INCLUDED.search(source)
                if included is None:
                    yield Module(place, "\n" * line + source, requests)
                else:
                    file = ROOT / included[1]
                    if not file.name.startswith("test_"):  # tests/test_tutorial.py runs these
                        yield Module(f"{place}:{file.name}", file.read_text(), requests, file)


MODULES = list(modules())


@pytest.fixture(autouse=True)
def in_the_folder(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Work in a copy of the folder of the module's file, as its author would."""
    module = request.node.callspec.params.get("module") if hasattr(request.node, "callspec") else None
    if module is None or module.file is None:
        yield
        return
    folder = tmp_path / "project"
    shutil.copytree(module.file.parent, folder, ignore=shutil.ignore_patterns("__pycache__", "*.db"))
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(folder)
    forget_temporary_modules()
    yield
    forget_temporary_modules()


def run(module: Module) -> dict[str, Any]:
    if module.file is not None:
        return vars(importlib.import_module(module.file.stem))
    namespace: dict[str, Any] = {"__name__": "documentation"}
    exec(compile(module.source, module.place, "exec", dont_inherit=True), namespace)
    return namespace


def ask(client: TestClient, line: str) -> None:
    found = REQUEST.fullmatch(line)
    assert found, f"not a request: {line!r}"
    sent = found["sent"] or ""
    kind = "application/json" if sent.startswith("{") else "application/x-www-form-urlencoded"
    headers = {"Content-Type": kind} if sent else {}
    answer = client.request(found["method"], found["target"], content=sent, headers=headers)
    got, expected = f"{answer.status_code} {said(answer)}".strip(), f"{found['status']} {found['body']}".strip()
    pattern = ".*".join(map(re.escape, expected.split("...")))
    assert got == expected or re.fullmatch(pattern, got, re.DOTALL), f"{line}: {got}"


@pytest.mark.usefixtures("early_events")
@pytest.mark.parametrize("way", WAYS, ids=str)
@pytest.mark.parametrize("module", MODULES, ids=[module.place for module in MODULES])
def test_the_examples_answer_as_they_say(module: Module, way: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("micropie.testing.TestClient", partial(TestClient, **way))
    namespace = run(module)
    if module.requests:
        with TestClient(namespace["app"], raise_app_exceptions=False, **way) as client:
            for line in module.requests.splitlines():
                ask(client, line)
    for name, function in namespace.items():
        needs_asgi = name.startswith("test_") and "websocket" in function.__code__.co_names
        if name.startswith("test_") and not (needs_asgi and way.get("protocol") == "wsgi"):
            mark = next((mark for mark in getattr(function, "pytestmark", ()) if mark.name == "parametrize"), None)
            for arguments in [[value] for value in mark.args[1]] if mark else [[]]:
                function(*arguments)


@pytest.mark.timeout(240)
def test_a_test_that_is_copied_alone_runs(tmp_path: Path) -> None:
    tests = [module for module in MODULES if re.search("^def test_", module.source, re.MULTILINE)]
    for module in tests:
        name = re.sub(r"\W", "_", module.place)
        (tmp_path / f"test_{name}.py").write_text(module.source)
    command = [sys.executable, "-m", "pytest", "-q", *ALONE]
    done = subprocess.run(command, cwd=tmp_path, env=unmeasured(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


COMMAND = re.compile(r"^    \$ micropie (\w+)\n((?:    .+\n)+)", re.MULTILINE)
COMMANDS = [
    (page, *found.groups(), text[: found.start()])
    for page in [*sorted((ROOT / "docs" / "start").glob("*.md")), *sorted((ROOT / "docs" / "tutorial").glob("*.md"))]
    for text in [page.read_text()]
    for found in COMMAND.finditer(text)
    if found[1] in ("routes", "check")
]


@pytest.mark.parametrize(
    ("page", "command", "output", "before"), COMMANDS, ids=lambda value: getattr(value, "stem", "")
)
def test_a_command_prints_what_the_page_says(
    tmp_path: Path, page: Path, command: str, output: str, before: str
) -> None:
    *_, (_, source) = BLOCK.findall(before.replace("```http", "```python3"))
    included = INCLUDED.search(source)
    if included is None:
        (tmp_path / "app.py").write_text(source)
    else:
        shutil.copytree((ROOT / included[1]).parent, tmp_path, dirs_exist_ok=True)
    arguments = [sys.executable, "-m", "micropie", command]
    done = subprocess.run(arguments, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stdout.splitlines() == [line.strip() for line in output.splitlines()], done.stderr


def test_every_block_is_of_a_kind_that_is_known() -> None:
    """A block of Python with anything behind the word would not be run."""
    kinds = {kind for page in PAGES for kind in re.findall(r"^ *```(.+)$", page.read_text(), re.MULTILINE)}
    assert kinds <= {"python", "http", "html", "html+jinja", "css", "ini", "nginx", "dockerfile", "yaml", "text"}


def test_blocks_of_text_that_are_python_can_be_compiled() -> None:
    """They need a cluster, or another module, and do not run."""
    for page in PAGES:
        for source in re.findall(r"^```text\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL):
            if re.search(r"^(from|import) ", source, re.MULTILINE):
                compile(source, str(page), "exec", dont_inherit=True)


MARKUP = "<i>"


def hostile(line: str) -> Iterator[tuple[str, str, str]]:
    """Yield a documented request with markup in the place of each segment, of each value of its query and its form."""
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


VALUE = re.compile("=[^&]*")
JSON_TEXT = re.compile(': "[^"]*"')


@pytest.mark.parametrize("module", [module for module in MODULES if module.requests], ids=lambda module: module.place)
def test_no_example_sends_a_client_s_markup_in_a_page(module: Module) -> None:
    app = run(module)["app"]
    with TestClient(app, raise_app_exceptions=False) as client:
        for line in module.requests.splitlines():
            for method, target, sent in hostile(line):
                kind = "application/json" if sent.startswith("{") else "application/x-www-form-urlencoded"
                headers = {"Content-Type": kind} if sent else {}
                answer = client.request(method, target, content=sent, headers=headers)
                is_page = answer.headers.get("content-type", "").startswith("text/html")
                assert not is_page or MARKUP not in answer.text, f"{method} {target} {sent}"


def test_the_table_of_settings_is_complete() -> None:
    rows = re.findall(r"^\| `(\w+)` \| `(.+?)` \|", (ROOT / "docs" / "settings.md").read_text(), re.MULTILINE)
    settings = Settings()
    assert dict(rows) == {name: repr(getattr(settings, name)) for name in Settings.__dataclass_fields__}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_within_the_project_lead_somewhere(page: Path) -> None:
    for path, anchor in re.findall(r"\]\(([^)#:]*)(?:#([^)]+))?\)", page.read_text()):
        target = page.parent / path if path else page
        assert target.exists(), path
        assert not anchor or anchor in anchors(target), f"{path}#{anchor}"


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", BLOCK.sub("", page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_change_log_begins_with_this_version() -> None:
    import micropie

    first = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert first is not None
    assert first[1] == micropie.__version__
