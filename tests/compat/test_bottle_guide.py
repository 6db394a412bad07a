"""The guide's worked example, step by step: the original, mounted, by the import line, native."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from micropie.testing import TestClient
from tests.support.selection import WORLDS

PAGE = Path(__file__).parent.parent.parent / "docs" / "moving" / "bottle-steps.md"

REQUESTS: list[tuple[str, str, dict[str, Any]]] = [
    ("GET", "/pies/1", {}),
    ("GET", "/pies/3", {}),
    ("GET", "/pies/x", {}),
    ("GET", "/none", {}),
    ("HEAD", "/pies/2", {}),
    ("POST", "/order", {"data": {"pie": "<Zwetschge>"}}),
]


def steps() -> tuple[str, str, str, str]:
    """Return the page's listings: the original, mounted, by the import line, and native."""
    section = PAGE.read_text()
    original, native = re.findall(r"^```python\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)
    (mount,) = re.findall(r"^```text\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)
    (line,) = re.findall(r"^    (from .*)\n", section, re.MULTILINE)
    before, last, after = original.partition("app = pies\n")
    assert last
    assert not after
    return original, before + mount, original.replace("import bottle", line, 1), native


def answers(source: str, prefix: str, world: str) -> list[Any]:
    namespace: dict[str, Any] = {"__name__": "guide"}
    exec(compile(source, "guide", "exec", dont_inherit=True), namespace)
    options: dict[str, Any] = {"protocol": "wsgi"} if world == "wsgi" else {"backend": world}
    seen = []
    with TestClient(namespace["app"], **options) as client:
        for method, path, sent in REQUESTS:
            answer = client.request(method, prefix + path, **sent)
            is_json = answer.headers["content-type"] == "application/json" and answer.content
            seen.append(
                (
                    answer.status_code,
                    json.loads(answer.text) if is_json else answer.text,
                    [*answer.cookies],
                )
            )
    return seen


@pytest.mark.parametrize("world", WORLDS)
def test_each_step_answers_as_the_one_before(world: str) -> None:
    original, mounted, moved, native = steps()
    expected = answers(original, "", "wsgi")
    assert [status for status, _, _ in expected] == [200, 404, 404, 404, 200, 200]
    assert answers(mounted, "/shop", world) == expected
    assert answers(moved, "", world) == expected
    assert answers(native, "", world) == expected
