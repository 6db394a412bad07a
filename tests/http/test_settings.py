"""The settings of an application: documented, checked at construction, inherited."""

from __future__ import annotations

import ast
import inspect
import itertools
import math
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from micropie import App, InMemorySessionBackend, SessionBackend, SetupError
from micropie._core.http.settings import Settings
from tests.support.clients import MakeClient

NAMES = list(vars(Settings()))
COUNTS = [
    "max_body_size", "max_data_size", "max_json_values", "max_form_field_size", "max_form_fields",
    "max_form_files", "thread_queue",
]  # fmt: skip
COUNTS += ["max_session_size"]
POSITIVE = ["threads", "session_timeout"]


_BODY = ast.parse(inspect.getsource(Settings)).body[0].body  # type: ignore[attr-defined]
DOCUMENTED = {
    field.target.id
    for field, text in itertools.pairwise(_BODY)
    if isinstance(field, ast.AnnAssign)
    and isinstance(field.target, ast.Name)
    and isinstance(text, ast.Expr)
}


@pytest.mark.parametrize("name", NAMES)
def test_every_setting_is_documented(name: str) -> None:
    assert name in DOCUMENTED, "write a docstring below this field of Settings"


def test_a_missing_event_loop_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(
        SetupError,
        match=r"^App\(portal_backend=...\) takes an event loop that is installed \("
        r'pip install "micropie-dual\[trio\]"',
    ):
        App(portal_backend="trio")


def test_the_default_settings_are_valid() -> None:
    defaults = vars(Settings())
    assert vars(Settings(**defaults)) == defaults  # only those that are given are checked


FINE: list[tuple[str, Any]] = [(name, value) for name in COUNTS for value in (0, 1, 10**12)]
FINE += [(name, value) for name in POSITIVE for value in (1, 1000)]
FINE += [
    (name, value)
    for name in ("body_timeout", "body_total_timeout", "thread_wait")
    for value in (None, 0.1, 5, math.inf)
]
FINE += [
    ("debug", True),
    ("debug", False),
    ("portal_backend", "trio"),
    ("portal_backend", "asyncio"),
]
FINE += [(name, value) for name in ("background_timeout", "pool_timeout") for value in (0.1, 5)]
FINE += [("pool", None), ("pool", ThreadPoolExecutor(1))]
FINE += [("processes", value) for value in (None, 1, 64)]
FINE += [("run_in", "thread"), ("run_in", "loop"), ("run_in", "process")]
FINE += [
    ("templates", "pages"),
    ("templates", Path("pages")),
    ("templates", ["pages", Path("more")]),
]


@pytest.mark.parametrize(("name", "value"), FINE)
def test_a_valid_setting_is_accepted(name: str, value: Any) -> None:
    assert isinstance(App(**{name: value}), App)


NO_COUNTS: list[Any] = [-1, 1.5, "1", None, True, []]
NO_DURATIONS: list[Any] = [0, -1, "30", True, math.nan, []]
WRONG: list[tuple[str, Any]] = [(name, value) for name in COUNTS for value in NO_COUNTS]
WRONG += [(name, value) for name in POSITIVE for value in (0, -1, 2.5, "40", None, True)]
WRONG += [
    (name, value)
    for name in ("body_timeout", "body_total_timeout", "thread_wait")
    for value in NO_DURATIONS
]
WRONG += [("debug", value) for value in (1, 0, "yes", None)]
WRONG += [("portal_backend", value) for value in ("", "uvloop", "Trio", None, 5)]
WRONG += [
    (name, value)
    for name in ("background_timeout", "pool_timeout")
    for value in (*NO_DURATIONS, None, math.inf)
]
WRONG += [("pool", 4), ("pool", "dask"), ("pool", ThreadPoolExecutor), ("pool", [])]
WRONG += [("pool_startup", value) for value in ([5], [lambda: (yield)], [lambda one: one])]
WRONG += [("processes", value) for value in (0, -1, 2.5, "2", True)]
WRONG += [("run_in", value) for value in ("", "Thread", "portal", None, 5, ["loop"])]
WRONG += [("templates", value) for value in (None, 5, b"templates", [], [5])]


@pytest.mark.parametrize(("name", "value"), WRONG)
def test_an_invalid_setting_raises_at_construction_and_is_named(name: str, value: Any) -> None:
    with pytest.raises(SetupError) as caught:
        App(**{name: value})
    assert name in str(caught.value)
    assert repr(value) in str(caught.value)


@pytest.mark.parametrize(
    "name",
    ["on_error", "session_id_factory", "session_id_validator", "template_setup", "translations"],
)
def test_a_function_whose_result_nobody_awaits_is_refused(name: str) -> None:
    async def function(*values: object) -> bool:
        raise NotImplementedError

    def generator(*values: object) -> Iterator[bool]:
        yield False

    for wrong in (function, generator, contextmanager(generator)):
        with pytest.raises(
            SetupError,
            match=rf"App\({name}=...\) takes a function .* that isn.t async and has no yield",
        ):
            App(**{name: wrong})  # type: ignore[arg-type]


@pytest.mark.parametrize("name", NAMES)
def test_every_setting_is_checked(name: str) -> None:
    with pytest.raises(SetupError, match=name):
        App(**{name: object()})._micropie.compiled()  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("max_body", "max_body_size"),
        ("Debug", "debug?"),
        ("sessions", "session_backend"),
        ("thread", "threads"),
    ],
)
def test_an_unknown_setting_suggests_similar_ones(name: str, near: str) -> None:
    value: Any = 1
    with pytest.raises(SetupError) as caught:
        App(**{name: value})
    sentence, _, nearest = str(caught.value).partition("; do you mean ")
    assert sentence == f"App has no setting {name!r}"
    assert near in nearest


@pytest.mark.parametrize("name", ["xyzzy", ""])
def test_an_unknown_setting_without_similar_ones_lists_all(name: str) -> None:
    value: Any = 1
    with pytest.raises(SetupError) as caught:
        App(**{name: value})
    known = set(re.findall(r"\w+", str(caught.value)))
    assert {*NAMES, "session_backend", "lifespan", "channels", "security", "docs"} <= known


class OnlyLoads:
    def load(self, session_id: str) -> dict[str, Any]:
        return {}


@pytest.mark.parametrize(
    "backend", ["redis", 5, object(), InMemorySessionBackend, SessionBackend, OnlyLoads(), {}]
)
def test_an_invalid_session_backend_fails_at_construction(backend: Any) -> None:
    with pytest.raises(
        SetupError, match="session_backend takes an object such as SQLiteSessionBackend"
    ):
        App(session_backend=backend)


def test_a_session_backend_may_be_given_by_position() -> None:
    backend = InMemorySessionBackend()
    assert App(backend).session_backend is backend


@pytest.mark.parametrize("lifespan", [5, "lifespan", [], object()])
def test_an_invalid_lifespan_fails_at_construction(lifespan: Any) -> None:
    with pytest.raises(SetupError, match="lifespan"):
        App(lifespan=lifespan)


def test_a_setting_only_applies_to_its_application(make_client: MakeClient) -> None:
    class Echo(App):
        def index(self) -> str:
            return f"{len(self.request.read())}"

    root: Any = Echo(max_body_size=10)
    root.small = Echo(max_body_size=5)
    root.large = Echo(max_body_size=20)
    root.inherits = Echo()
    root.inherits.inner = Echo(max_form_fields=1)
    client = make_client(root)
    limits = {"/": 10, "/small": 5, "/large": 20, "/inherits": 10, "/inherits/inner": 10}
    fits = {
        path: client.post(path, content=b"x" * limit).status_code for path, limit in limits.items()
    }
    exceeds = {
        path: client.post(path, content=b"x" * (limit + 1)).status_code
        for path, limit in limits.items()
    }
    assert (set(fits.values()), set(exceeds.values())) == ({200}, {413})
    assert client.get("/inherits?a=1&b=2").status_code == 200
