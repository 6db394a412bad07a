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


def steps() -> tuple[str, str, str, str]:
    """Return the page's listings: the original, mounted, by the import line, and native."""
    section = PAGE.with_name("cherrypy-steps.md").read_text()
    original, native = blocks(section)
    (mount,) = re.findall(r"^```text\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)
    (line,) = re.findall(r"^    (from .*)\n", section, re.MULTILINE)
    before, last, _ = original.rpartition("app = ")
    assert last
    return original, before + mount, original.replace("import cherrypy", line, 1), native


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


@pytest.mark.parametrize("world", WORLDS)
def test_each_step_answers_as_the_one_before(world: str) -> None:
    original, mounted, moved, native = steps()
    expected = answers(original, "", "wsgi")
    assert [status for status, _, _ in expected] == [200, 200, 404, 200, 404, 200, 200]
    assert answers(mounted, "/shop", world) == expected
    assert answers(moved, "", world) == expected
    assert answers(native, "", world) == expected


@pytest.mark.parametrize("world", ["asyncio", "trio"])
def test_a_migrated_application_has_a_websocket(world: str) -> None:
    gains = PAGE.read_text().split("## What a migrated application gains")[1]
    with client_of(run(blocks(gains)[0]), world) as client, client.websocket("/chat") as socket:
        socket.send_text("hello")
        assert socket.receive_text() == "hello"
