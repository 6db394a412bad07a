"""The guide's worked example, step by step: the original, mounted, by the import line, native."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from micropie.testing import TestClient
from tests.support.selection import WORLDS

PAGE = Path(__file__).parent.parent.parent / "docs" / "moving" / "cherrypy.md"

REQUESTS: list[tuple[str, str, dict[str, Any]]] = [
    ("GET", "/", {}),
    ("GET", "/show/1", {}),
    ("GET", "/show/3", {}),
    ("GET", "/show?number=2", {}),
    ("GET", "/none", {}),
    ("HEAD", "/show/2", {}),
    ("POST", "/order", {"data": {"pie": "<Zwetschge>"}}),
]


def sections() -> tuple[str, str]:
    steps = PAGE.with_name("cherrypy-steps.md").read_text()
    return steps, PAGE.read_text().split("## What a moved application gains")[1]


def blocks(text: str) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def run(source: str) -> Any:
    namespace: dict[str, Any] = {"__name__": "guide"}
    exec(compile(source, "guide", "exec", dont_inherit=True), namespace)
    return namespace["app"]


def client_of(app: Any, world: str) -> TestClient:
    return TestClient(app, protocol="wsgi") if world == "wsgi" else TestClient(app, backend=world)


def answers(source: str, prefix: str, world: str) -> list[Any]:
    seen = []
    with client_of(run(source), world) as client:
        for method, path, sent in REQUESTS:
            answer = client.request(method, prefix + path, **sent)
            text = answer.text.strip()  # CherryPy fills the pages of errors with spaces
            seen.append(
                (
                    answer.status_code,
                    json.loads(text) if text[:1] == "{" else text,
                    [*answer.cookies],
                )
            )
    return seen


def test_the_import_line_is_all_that_changes() -> None:
    original, mounted, moved, _ = blocks(sections()[0])
    assert moved == original.replace("import cherrypy\n", "from micropie.compat import cherrypy\n")
    assert original.split("cherrypy.config.update")[0].split("\n\n", 2)[2] in mounted


@pytest.mark.parametrize("world", WORLDS)
def test_each_step_answers_as_the_one_before(world: str) -> None:
    original, mounted, moved, native = blocks(sections()[0])
    expected = answers(original, "", "wsgi")
    assert [status for status, _, _ in expected] == [200, 200, 404, 200, 404, 200, 200]
    assert answers(mounted, "/shop", world) == expected
    assert answers(moved, "", world) == expected
    assert answers(native, "", world) == expected


@pytest.mark.parametrize("world", ["asyncio", "trio"])
def test_a_moved_application_has_a_websocket(world: str) -> None:
    with (
        client_of(run(blocks(sections()[1])[0]), world) as client,
        client.websocket("/chat") as socket,
    ):
        socket.send_text("hello")
        assert socket.receive_text() == "hello"
