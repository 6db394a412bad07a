"""The public names of the package, and its error when httpx is missing."""

from __future__ import annotations

import builtins
import importlib
import sys
from typing import Any

import pytest

import micropie.testing

PUBLIC = [
    "AppTimeout",
    "AsyncTestClient",
    "AsyncWebSocketSession",
    "ClientDisconnected",
    "ClientError",
    "LifespanFailed",
    "ProtocolViolation",
    "TestClient",
    "WebSocketClosed",
    "WebSocketRefused",
    "WebSocketSession",
    "make_request",
]


def import_without(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Import the package again while `name` can't be found."""
    for module in [each for each in sys.modules if each.startswith("micropie.testing")]:
        monkeypatch.delitem(sys.modules, module)
    # The import also sets the attribute of the parent package.
    monkeypatch.setattr(sys.modules["micropie"], "testing", micropie.testing)
    original = builtins.__import__

    def refuse(wanted: str, *args: Any, **kwargs: Any) -> Any:
        if wanted == name:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return original(wanted, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", refuse)
    importlib.import_module("micropie.testing")


def test_the_public_names_are_these() -> None:
    assert micropie.testing.__all__ == PUBLIC
    assert all(hasattr(micropie.testing, name) for name in PUBLIC)


def test_pytest_does_not_collect_the_client() -> None:
    assert micropie.testing.TestClient.__test__ is False


@pytest.mark.parametrize("name", ["httpx", "httpx_sse"])
def test_without_what_it_needs_the_error_names_the_extra(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(
        ModuleNotFoundError, match=rf'needs {name}, .*pip install "micropie-dual\[test\]"'
    ):
        import_without(name, monkeypatch)


def test_another_missing_module_is_not_blamed_on_httpx(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ModuleNotFoundError, match="'anyio'"):
        import_without("anyio", monkeypatch)
