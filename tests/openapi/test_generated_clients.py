"""openapi-python-client generates clients without a warning, and each of their functions works
against the application, which a real server serves.
"""

from __future__ import annotations

import base64
import enum
import importlib
import inspect
import io
import json
import pkgutil
import re
import subprocess
import sys
import types
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints
from uuid import UUID

import pytest

from tests.openapi.topics import app
from tests.servers.harness import serving
from tests.support.environment import unmeasured

SERVED = "tests.openapi.topics:app"
# (operation, whether optional values are sent, scheme) -> the declared error; all else succeeds.
REFUSED = {
    ("basics_whole", False, ""): 401,
    ("bearers_whole", False, ""): 401,
    ("conditions_change", True, ""): 412,
    ("files_perhaps", False, ""): 400,  # it sends a form of no part without a last boundary
    ("statuses_teapot", False, ""): 418,
    ("statuses_teapot", True, ""): 418,
}
SIMPLE: dict[Any, Any] = {
    int: 1,
    float: 1.5,
    bool: True,
    str: "a",
    object: "a",
    Any: "a",
    date: date(2026, 3, 1),
    datetime: datetime(2026, 3, 1, 12, tzinfo=UTC),
    UUID: UUID(int=1),
}


@pytest.fixture
def client_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Generate a client, and import it; it is forgotten at the end."""

    def generate(document: dict[str, Any], name: str) -> Any:
        (tmp_path / "openapi.json").write_text(json.dumps(document))
        options = ["--path", "openapi.json", "--meta", "none", "--output-path", name]
        # without ruff's work on the files, whose absence is a warning
        (tmp_path / "config.yml").write_text("post_hooks: []")
        options += ["--config", "config.yml", "--fail-on-warning"]
        made = subprocess.run(
            [sys.executable, "-m", "openapi_python_client", "generate", *options],
            cwd=tmp_path,
            env=unmeasured(),
            capture_output=True,
            text=True,
            check=False,
        )
        assert made.returncode == 0, made.stdout + made.stderr
        monkeypatch.syspath_prepend(str(tmp_path))
        return importlib.import_module(name)

    yield generate
    for name in [one for one in sys.modules if one.partition(".")[0].startswith("client_of_")]:
        del sys.modules[name]


def functions_of(package: Any) -> dict[str, Any]:
    """Return the module of each operation by the operation's name."""
    found = pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
    names = [one.name for one in found if ".api." in one.name and not one.ispkg]
    return {name.rpartition(".")[2]: importlib.import_module(name) for name in names}


def operations_of(document: dict[str, Any]) -> dict[str, Any]:
    return {
        re.sub(r"\W+|(?<=[a-z0-9])(?=[A-Z])", "_", one["operationId"]).lower(): one
        for path in document["paths"].values()
        for one in path.values()
    }


class Arguments:
    """Values of the types that a generated client states.

    ``is_full``: optional values are given, too.
    """

    def __init__(self, package: Any, *, is_full: bool) -> None:
        self._models = vars(importlib.import_module(f"{package.__name__}.models"))
        self._types = importlib.import_module(f"{package.__name__}.types")
        self._is_full = is_full

    def of_function(self, function: Any) -> dict[str, Any]:
        hints = get_type_hints(function, localns=self._models)
        parameters = [
            one for name, one in inspect.signature(function).parameters.items() if name != "client"
        ]
        return {one.name: self._value(hints[one.name], 0) for one in parameters if self._has(one)}

    def _has(self, parameter: inspect.Parameter) -> bool:
        return self._is_full or parameter.default is parameter.empty

    def _value(self, hint: Any, depth: int) -> Any:
        origin, arguments = get_origin(hint), get_args(hint)
        if origin in (Union, types.UnionType):
            members = [one for one in arguments if one not in (self._types.Unset, type(None))]
            return self._value(members[0], depth)
        if origin is list:
            return [self._value(arguments[0], depth)] if depth < 3 else []
        if origin is Literal:
            return arguments[0]
        if hint in SIMPLE:
            return SIMPLE[hint]
        if hint is self._types.File:
            return self._types.File(io.BytesIO(b"apple"), "pie.txt", "text/plain")
        if issubclass(hint, enum.Enum):
            return next(iter(hint))
        return self._model(hint, depth + 1)

    def _model(self, model: Any, depth: int) -> Any:
        hints = get_type_hints(model, localns=self._models)
        parameters = inspect.signature(model).parameters.values()
        return model(
            **{
                one.name: self._value(hints[one.name], depth)
                for one in parameters
                if self._has(one) and depth < 4
            }
        )


def clients_of(package: Any, url: str) -> dict[str, Any]:
    """Return clients that are logged in by each scheme, and one that is not."""
    basic = base64.b64encode(b"ann:pie").decode()
    return {
        "BearerAuth": package.AuthenticatedClient(base_url=url, token="pie"),
        "BasicAuth": package.AuthenticatedClient(base_url=url, token=basic, prefix="Basic"),
        "": package.Client(base_url=url),
    }


def schemes_of(operation: dict[str, Any]) -> list[str]:
    return [name for scheme in operation.get("security", ()) for name in scheme]


@pytest.mark.timeout(180)
# httpx warns of cookies of one request, which the generated function has
@pytest.mark.filterwarnings("ignore:Setting per-request cookies")
def test_each_function_of_a_client_works(client_of: Any) -> None:
    """Each gets an answer that is declared, and reads it, with and without optional values; those
    that need a log-in also without one.
    """
    document = app.openapi()
    package = client_of(document, "client_of_topics")
    functions, operations = functions_of(package), operations_of(document)
    assert {*functions} == {*operations}
    refused: dict[tuple[str, bool, str], int] = {}
    with serving(SERVED) as server_of, ExitStack() as opened:
        clients = clients_of(package, f"http://127.0.0.1:{server_of('uvicorn').port}")
        for client in clients.values():
            opened.enter_context(client)
        for name, function in functions.items():
            scheme, *others = [*schemes_of(operations[name]), ""]
            for is_full, own in [
                (False, scheme),
                (True, scheme),
                *((False, one) for one in others),
            ]:
                arguments = Arguments(package, is_full=is_full).of_function(function.sync_detailed)
                answer = function.sync_detailed(client=clients[own], **arguments)
                status = int(answer.status_code)
                told = operations[name]["responses"][str(status)]
                assert answer.parsed is not None or "content" not in told, name
                if status >= 400:
                    refused[name, is_full, own] = status
    assert refused == REFUSED
