"""Random walks through CherryPy's sessions: whatever requests do with them, with cookies that are
current, old or forged, each request sees what a model says (tests/sessions/test_walks.py).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import nullcontext
from copy import deepcopy
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import pytest
from anyio.from_thread import start_blocking_portal
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from micropie.sessions import InMemorySessionBackend
from micropie_compat import cherrypy
from micropie_compat.cherrypy.lib import sessions
from tests.sessions.test_walks import KEYS, LISTS, VALUES, asking_asgi, asking_wsgi
from tests.support.walking import repeatable

Data = dict[str, Any]

STEPS: dict[str, Callable[..., object]] = {
    "set": lambda session, key, value: session.__setitem__(key, value),
    "delete": lambda session, key: session.pop(key, None),
    "append": lambda session, key, value: session.setdefault(key, []).append(value),
    "clear": lambda session: session.clear(),
    "regenerate": lambda session: session.regenerate(),
    "log out": lambda session: session.delete(),
}


class Root:
    """A page that does with the session what the request says."""

    @cherrypy.expose
    @cherrypy.tools.json_in()
    @cherrypy.tools.json_out()
    def page(self) -> Any:
        seen = []
        for name, *arguments in cherrypy.request.json["steps"]:
            if name == "read":
                seen.append(deepcopy(dict(cherrypy.session.items())))
            else:
                STEPS[name](cherrypy.session, *arguments)
        if cherrypy.request.json["end"] == "refused":
            raise cherrypy.HTTPError(400, json.dumps(seen))
        return seen


steps = st.one_of(
    st.just(("read",)),
    st.tuples(st.just("set"), KEYS, VALUES),
    st.tuples(st.just("append"), LISTS, st.integers(0, 9)),
    st.tuples(st.just("delete"), KEYS | LISTS),
    st.just(("clear",)),
    st.just(("regenerate",)),
)


class Walk(RuleBasedStateMachine):
    options: ClassVar[Data]  # of the tool
    asking: ClassVar[Any]  # a function from an application to one that sends a request

    def __init__(self) -> None:
        super().__init__()
        sessions.RamSession.cache.clear()
        config = {f"tools.sessions.{name}": value for name, value in self.options.items()}
        root: Any = Root()
        app = cherrypy.Application(root, "", {"/": {"tools.sessions.on": True, **config}})
        self.ask_app = self.asking(app)
        self.has_empty = "backend" not in self.options  # micropie's stores no empty session
        self.stored: dict[str, Data] = {}
        self.browsers: dict[str, str] = {}
        self.old: list[str] = []

    def _send(self, asked: list[Any], end: str, cookie: str) -> tuple[int, str, bytes]:
        body = json.dumps({"steps": asked, "end": end}).encode()
        status, headers, found = self.ask_app("/page", body, cookie)
        line = headers.get("set-cookie", "")
        return status, line.partition(";")[0].removeprefix("session_id="), found

    @rule(
        name=st.sampled_from(["Ann", "Ann", "Ben", "old", "forged", "none"]),
        asked=st.lists(steps, max_size=4),
        leaves=st.sampled_from([False, False, False, True]),
        end=st.sampled_from(["answered", "answered", "refused"]),
    )
    def ask(self, name: str, asked: list[Any], leaves: bool, end: str) -> None:
        cookie = {
            "old": self.old[len(self.old) // 2] if self.old else "",
            "forged": "f" * 40,
        }.get(name, self.browsers.get(name, ""))
        data, is_renewed, expected = deepcopy(self.stored.get(cookie, {})), False, []
        for step in asked:
            match step:
                case ("read",):
                    expected.append(deepcopy(data))
                case ("set", key, value):
                    data[key] = value
                case ("append", key, value):
                    data[key] = [*data.get(key, []), value]
                case ("delete", key):
                    data.pop(key, None)
                case ("clear",):
                    data = {}
                case _:
                    is_renewed = True
        expected.append(deepcopy(data))
        asked = [("read",), *asked, ("read",), *([("log out",)] if leaves else [])]
        expected.insert(0, deepcopy(self.stored.get(cookie, {})))
        status, given, found = self._send(asked, end, cookie)
        assert status == (200 if end == "answered" else 400)
        if end == "answered":
            assert json.loads(found) == expected
        given = given or cookie  # a backend of micropie's sends a cookie when it changes
        if is_renewed or cookie not in self.stored:
            assert given not in {cookie, *self.old} or not (data or self.has_empty)
            self.stored.pop(cookie, None)
        else:
            assert given == cookie or not (data or self.has_empty)
            self.stored.pop(cookie)
        if leaves or not (data or self.has_empty):
            self.stored.pop(given, None)
        else:
            self.stored[given] = data
        self.old.append(given)
        if name in ("Ann", "Ben"):
            self.browsers[name] = given

    @invariant()
    def each_cookie_has_what_is_stored(self) -> None:
        for cookie in {*self.browsers.values(), *self.old[-3:]}:
            _, given, found = self._send([("read",)], "answered", cookie)
            assert json.loads(found) == [self.stored.get(cookie, {})]
            if self.has_empty:
                assert (given == cookie) == (cookie in self.stored)


def walk(world: str, options: Data, walks: int) -> None:
    with nullcontext() if world == "wsgi" else start_blocking_portal(world) as portal:
        asking = asking_wsgi if portal is None else partial(asking_asgi, portal)
        machine = type("SessionWalk", (Walk,), {"options": options, "asking": staticmethod(asking)})
        run_state_machine_as_test(machine, settings=repeatable(walks, steps=15))


def options_of(kind: str, folder: Path) -> Data:
    if kind == "file":
        return {"storage_class": sessions.FileSession, "storage_path": str(folder)}
    return {"backend": InMemorySessionBackend()} if kind == "backend" else {}


@pytest.mark.parametrize("kind", ["ram", "file", "backend"])
def test_a_request_sees_what_the_model_says(world: str, kind: str, tmp_path: Path) -> None:
    walk(world, options_of(kind, tmp_path), 8)


@pytest.mark.processes  # none, but it takes long
@pytest.mark.parametrize("kind", ["ram", "file", "backend"])
def test_many_requests_see_what_the_model_says(world: str, kind: str, tmp_path: Path) -> None:
    walk(world, options_of(kind, tmp_path), 60)
