"""The guides' worked examples, step by step: the original, mounted, by the import line, native. And
the other examples of the documentation that import ``micropie_compat``.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from micropie.testing import TestClient
from tests.project.test_readme import MIGRATED, check_answers, name_of

PAGES = Path(__file__).parent.parent.parent / "docs" / "moving"

Requests = list[tuple[str, str, dict[str, Any]]]

ORDER: Requests = [("POST", "/order", {"data": {"pie": "<Zwetschge>"}})]
REQUESTS: dict[str, Requests] = {
    "bottle": [("GET", path, {}) for path in ("/pies/1", "/pies/3", "/pies/x", "/none")]
    + [("HEAD", "/pies/2", {}), *ORDER],
    "cherrypy": [("GET", path, {}) for path in ("/", "/show/1", "/show/3", "/show?number=2")]
    + [("GET", "/none", {}), ("HEAD", "/show/2", {}), *ORDER],
}
STATUSES = {
    "bottle": [200, 404, 404, 404, 200, 200],
    "cherrypy": [200, 200, 404, 200, 404, 200, 200],
}


def steps(framework: str) -> tuple[str, str, str, str]:
    """Return the page's listings: the original, mounted, by the import line, and native."""
    section = (PAGES / f"{framework}-steps.md").read_text()
    original, native = blocks(section)
    (mount,) = re.findall(r"^```text\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)
    (line,) = re.findall(r"^    (from .*)\n", section, re.MULTILINE)
    before, last, _ = original.rpartition("app = ")
    assert last
    return original, before + mount, original.replace(f"import {framework}", line, 1), native


def blocks(text: str) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def client_of(source: str, world: str) -> TestClient:
    namespace: dict[str, Any] = {"__name__": "guide"}
    exec(compile(source, "guide", "exec", dont_inherit=True), namespace)
    app = namespace["app"]
    return TestClient(app, protocol="wsgi") if world == "wsgi" else TestClient(app, backend=world)


def answers(framework: str, source: str, prefix: str, world: str) -> list[Any]:
    seen = []
    with client_of(source, world) as client:
        for method, path, sent in REQUESTS[framework]:
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


@pytest.mark.parametrize("framework", REQUESTS)
def test_each_migration_step_responds_as_the_previous_one(framework: str, world: str) -> None:
    original, mounted, moved, native = steps(framework)
    expected = answers(framework, original, "", "wsgi")
    assert [status for status, _, _ in expected] == STATUSES[framework]
    assert answers(framework, mounted, "/shop", world) == expected
    assert answers(framework, moved, "", world) == expected
    assert answers(framework, native, "", world) == expected


@pytest.mark.parametrize("page", MIGRATED, ids=name_of)
def test_the_examples_respond_as_documented_and_escape_client_text(
    page: Path, world: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    check_answers(MIGRATED[page], world, monkeypatch)


@pytest.mark.parametrize("world", ["asyncio", "trio"])
def test_a_migrated_application_has_a_websocket(world: str) -> None:
    gains = (PAGES / "cherrypy.md").read_text().split("## What a migrated application gains")[1]
    with client_of(blocks(gains)[0], world) as client, client.websocket("/chat") as socket:
        socket.send_text("hello")
        assert socket.receive_text() == "hello"
