"""The public names of the package, and the HTTP client that it stands on."""

from __future__ import annotations

import builtins
import importlib
import sys
from pathlib import Path
from typing import Any

import pytest

import micropie.testing
from tests.support.commands import ended

ROOT = Path(__file__).parents[2]

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


def import_without(names: set[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Import the package again while modules can't be found."""
    for module in [each for each in sys.modules if each.startswith("micropie.testing")]:
        monkeypatch.delitem(sys.modules, module)
    # The import also sets the attribute of the parent package.
    monkeypatch.setattr(sys.modules["micropie"], "testing", micropie.testing)
    original = builtins.__import__

    def refuse(wanted: str, *args: Any, **kwargs: Any) -> Any:
        if wanted in names:
            raise ModuleNotFoundError(f"No module named {wanted!r}", name=wanted)
        return original(wanted, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", refuse)
    importlib.import_module("micropie.testing")


def test_the_public_names_are_complete() -> None:
    assert micropie.testing.__all__ == PUBLIC
    assert all(hasattr(micropie.testing, name) for name in PUBLIC)


def test_pytest_does_not_collect_the_test_client() -> None:
    assert micropie.testing.TestClient.__test__ is False


@pytest.mark.parametrize("missing", ["httpx", "httpx_sse"])
def test_without_httpx2_the_error_names_the_extra(
    missing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = r'needs httpx2, .*pip install "micropie-dual\[test\]"'
    with pytest.raises(ModuleNotFoundError, match=wanted):
        import_without({"httpx2", missing}, monkeypatch)


def test_another_missing_module_is_not_blamed_on_httpx2(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ModuleNotFoundError, match="'anyio'"):
        import_without({"anyio"}, monkeypatch)


@pytest.mark.processes
def test_without_httpx2_the_clients_use_httpx() -> None:
    command = [sys.executable, "-m", "tests.testing.predecessor"]
    done = ended(*command)
    assert (done.returncode, done.stderr) == (0, "")
