"""Random walks through sessions: whatever requests do with them, one after the other and at once,
with cookies that are current, old or forged, each request sees what a model says.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from copy import deepcopy
from functools import partial
from typing import Any, ClassVar, NamedTuple

import pytest
from anyio.from_thread import start_blocking_portal
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from micropie import App, HTTPError, SessionBackend, post
from tests.asgi import calls as asgi
from tests.sessions.conftest import MakeBackend
from tests.sessions.test_store import Own, OwnAsync
from tests.support.processes import REDIS
from tests.support.walking import repeatable
from tests.wsgi import calls as wsgi

Data = dict[str, Any]


class Request(NamedTuple):
    """What a client asks for. ``cookie``: "Ann" or "Ben", whose browser has one, "old", "forged"
    or "none"; "same" is the one of the request that is under way.
    """

    cookie: str
    steps: tuple[tuple[Any, ...], ...]
    way: str
    end: str


class Root(App):
    """Handlers that do with the session what the request says."""

    def __init__(self, backend: SessionBackend) -> None:
        super().__init__(backend, security=False, errors="json")
        self.meanwhile: list[Callable[[], None]] = []

    @post
    def plain(self, steps: list[Any], end: str) -> Any:
        return self._finish(self._done(steps), end)

    @post
    async def awaited(self, steps: list[Any], end: str) -> Any:
        return self._finish(self._done(steps), end)

    @post
    def streamed(self, steps: list[Any], end: str) -> Any:
        seen = self._finish(self._done(steps), end)
        yield json.dumps(seen)

    def _finish(self, seen: list[Data], end: str) -> list[Data]:
        if end == "refused":
            raise HTTPError(400, json.dumps(seen))
        if end == "failed":
            raise HTTPError(503, json.dumps(seen))
        return seen

    def _done(self, steps: list[Any]) -> list[Data]:
        session, seen = self.request.session, []  # some backends load it now, and not earlier
        for name, *arguments in steps:
            if name == "meanwhile":
                self.meanwhile.pop()()
            elif name == "read":
                seen.append(deepcopy(dict(session)))
            else:
                STEPS[name](session, *arguments)
        return seen


def append(session: Any, key: str, value: int) -> None:
    """Change what is inside of a value."""
    session.setdefault(key, []).append(value)


def log_in(session: Any, name: str) -> None:
    session.regenerate()
    session["user"] = name


STEPS: dict[str, Callable[..., object]] = {
    "set": lambda session, key, value: session.__setitem__(key, value),
    "delete": lambda session, key: session.pop(key, None),
    "append": append,
    "count": lambda session: session.update_atomic("count", lambda number: (number or 0) + 1),
    "clear": lambda session: session.clear(),
    "regenerate": lambda session: session.regenerate(),
    "log in": log_in,
}
KEYS, LISTS = st.sampled_from(["a", "b"]), st.sampled_from(["x", "y"])
VALUES = st.sampled_from([1, "text", {"inner": [1]}, None])
simple_steps = st.one_of(
    st.just(("read",)),
    st.tuples(st.just("set"), KEYS, VALUES),
    st.tuples(st.just("append"), LISTS, st.integers(0, 9)),
    st.tuples(st.just("delete"), KEYS | LISTS),
    st.just(("clear",)),
    st.just(("regenerate",)),
    st.tuples(st.just("log in"), st.sampled_from(["ann", "ben"])),
).map(tuple)  # one alternative beside nested requests, and not eight


def requests_of(cookies: list[str], steps: Any) -> Any:
    return st.builds(
        Request,
        st.sampled_from(cookies),
        st.lists(steps, max_size=4).map(lambda many: (*many, ("read",))),
        st.sampled_from(["plain", "awaited", "streamed"]),
        st.sampled_from(["answered", "answered", "answered", "refused", "failed"]),
    )


counts = st.just(("count",))

# one request while another one is under way, and one more while that is
nested: Any = st.deferred(
    lambda: st.tuples(
        st.just("meanwhile"),
        requests_of(["same", "same", "same", "Ann", "old"], simple_steps | counts | nested),
    )
)
requests = requests_of(
    ["Ann", "Ann", "Ann", "Ben", "old", "forged", "none"], simple_steps | counts | nested
)


# -- the model -------------------------------------------------------------------------------------


class Visit:
    """A request's view of its session."""

    def __init__(self, session_id: str | None, stored: Data) -> None:
        self.id = session_id if stored else None
        self.loaded, self.data = deepcopy(stored), deepcopy(stored)
        self.is_ended = self.is_renewed = False
        self.counted = 0

    def perform(self, name: str, *arguments: Any) -> None:
        match name:
            case "set":
                key, value = arguments
                self.data[key] = value
            case "delete":
                self.data.pop(arguments[0], None)
            case "append":
                key, value = arguments
                self.data[key] = [*self.data.get(key, []), value]
            case "count":
                self.data["count"] = self.data.get("count", 0) + 1
                self.counted += 1
            case "clear":
                self.data.clear()
                self.loaded, self.counted = {}, 0
                self.is_ended = self.is_renewed = self.id is not None
            case _:
                self.is_renewed = self.id is not None
        if name == "log in":
            self.data["user"] = arguments[0]

    @property
    def is_changed(self) -> bool:
        return self.data != self.loaded or self.is_renewed or self.is_ended

    def merged(self, stored: Data) -> Data:
        """What is stored, with the keys that the request has changed."""
        if self.is_ended or not self.data:
            return deepcopy(self.data)
        found = deepcopy(stored)
        for key in {*self.loaded, *self.data}:
            if key not in self.data:
                found.pop(key, None)
            elif key == "count" and self.counted:
                found[key] = stored.get(key, 0) + self.counted
            elif self.data[key] != self.loaded.get(key, KeyError):
                found[key] = deepcopy(self.data[key])
        return found


NOTHING, DELETION, SAME, FRESH = "nothing", "deletion", "the same", "a fresh one"


class Store:
    """The sessions of a backend by what clients have in their cookies."""

    def __init__(self, is_in_cookie: bool) -> None:
        self.is_in_cookie = is_in_cookie
        self.sessions: dict[str, Data] = {}

    def visit(self, cookie: str) -> Visit:
        return Visit(cookie, self.sessions.get(cookie, {}))

    def save(self, visit: Visit) -> tuple[str, Data]:
        """Save a session that has changed. Return which cookie the client gets, and the data that
        belong to a fresh one.
        """
        if not visit.is_changed:
            return NOTHING, {}
        if self.is_in_cookie:
            return (FRESH, visit.data) if visit.data else (DELETION, {})
        if visit.id is None:
            return FRESH, visit.data
        stored = self.sessions.get(visit.id)
        found = visit.merged(stored) if stored else {}
        if stored and (visit.is_renewed or not found):
            del self.sessions[visit.id]
        elif stored:
            self.sessions[visit.id] = found
        if not visit.data:
            return DELETION, {}
        if not stored:
            return NOTHING, {}
        return (FRESH, found) if visit.is_renewed else (SAME, {})


# -- the walk --------------------------------------------------------------------------------------

Ask = Callable[[str, bytes, str], tuple[int, dict[str, str], bytes]]


class Walk(RuleBasedStateMachine):
    make: ClassVar[Any]  # a function that returns a backend
    asking: ClassVar[Any]  # a function from an application to an Ask

    def __init__(self) -> None:
        super().__init__()
        backend = self.make()
        self.app = Root(backend)
        self.ask_app = self.asking(self.app)
        self.store = Store(backend.in_cookie)
        self.browsers: dict[str, str] = {}
        self.old: list[str] = []

    @initialize()
    def begin(self) -> None:
        for name in ("Ann", "Ben"):
            steps = (("log in", name), ("count",), ("append", "x", 1))
            self.ask(Request(name, steps, "plain", "answered"))
            # two that count from the same number
            other = Request("same", (("count",), ("read",)), "plain", "answered")
            at_once = (("count",), ("meanwhile", other), ("read",))
            self.ask(Request(name, at_once, "plain", "answered"))

    @rule(request=requests)
    def ask(self, request: Request) -> None:
        cookie = self._cookie(request.cookie)
        visit = self.store.visit(cookie)
        expected: list[Data] = []
        meanwhile = [
            partial(self._meanwhile, request.cookie, visit, expected, steps)
            for steps in self._until_each_request(request)
        ]
        self.app.meanwhile.extend(reversed(meanwhile))
        steps = [[name] if name == "meanwhile" else [name, *rest] for name, *rest in request.steps]
        # an event loop can't wait for another request of its own
        way = "plain" if request.way == "awaited" and meanwhile else request.way
        status, headers, body = self.ask_app(
            f"/{way}", json.dumps({"steps": steps, "end": request.end}).encode(), cookie
        )
        self._perform(visit, expected, request.steps[self._last_request(request) + 1 :])
        document = json.loads(body)
        if request.end == "answered":
            assert status == 200
        else:
            assert status == {"refused": 400, "failed": 503}[request.end]
            document = json.loads(document["detail"])
        assert document == expected
        kind, data = (NOTHING, {}) if request.end == "failed" else self.store.save(visit)
        self._keep(request.cookie, cookie, headers.get("set-cookie"), kind, data)

    def _until_each_request(self, request: Request) -> Iterator[tuple[Any, ...]]:
        """The steps before each request that is under way meanwhile, with it."""
        steps: tuple[Any, ...] = ()
        for step in request.steps:
            steps += (step,)
            if step[0] == "meanwhile":
                yield steps
                steps = ()

    def _last_request(self, request: Request) -> int:
        places = [index for index, step in enumerate(request.steps) if step[0] == "meanwhile"]
        return max(places, default=-1)

    @staticmethod
    def _perform(visit: Visit, expected: list[Data], steps: Any) -> None:
        for step in steps:
            if step[0] == "read":
                expected.append(deepcopy(visit.data))
            else:
                visit.perform(*step)

    def _meanwhile(
        self, name: str, visit: Visit, expected: list[Data], steps: tuple[Any, ...]
    ) -> None:
        *before, (_, request) = steps
        self._perform(visit, expected, before)
        self.ask(request._replace(cookie=name) if request.cookie == "same" else request)

    def _cookie(self, name: str) -> str:
        if name == "old":
            return self.old[len(self.old) // 2] if self.old else ""
        return "x" * 43 if name == "forged" else self.browsers.get(name, "")

    def _keep(self, name: str, cookie: str, line: str | None, kind: str, data: Data) -> None:
        """Store a cookie as the browser does."""
        if kind == NOTHING:
            assert line is None
            return
        assert line is not None
        value = line.partition(";")[0].removeprefix("session_id=")
        if kind == DELETION:
            assert value == ""
        elif kind == SAME:
            assert value == cookie
        else:
            assert self.store.is_in_cookie or (value != cookie and value not in self.old)
            self.store.sessions[value] = deepcopy(data)
            self.old.append(value)
        if name in ("Ann", "Ben"):
            self.browsers[name] = value

    @invariant()
    def each_client_has_what_is_stored(self) -> None:
        for cookie in (*self.browsers.values(), *self.old[-3:]):
            body = json.dumps({"steps": [["read"]], "end": "answered"}).encode()
            _, headers, found = self.ask_app("/plain", body, cookie)
            assert json.loads(found) == [self.store.sessions.get(cookie, {})]
            assert "set-cookie" not in headers


def asking_wsgi(app: App) -> Ask:
    def ask(path: str, body: bytes, cookie: str) -> tuple[int, dict[str, str], bytes]:
        changes = {"CONTENT_TYPE": "application/json", "HTTP_COOKIE": f"session_id={cookie}"}
        answer = wsgi.begin(app, "POST", path, body, **changes)
        body = answer.read()
        return answer.status, {name.lower(): text for name, text in answer.headers.items()}, body

    return ask


def asking_asgi(portal: Any, app: App) -> Ask:
    def ask(path: str, body: bytes, cookie: str) -> tuple[int, dict[str, str], bytes]:
        scope = asgi.http_scope()
        headers = [
            *scope["headers"],
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(body)),
            (b"cookie", f"session_id={cookie}".encode()),
        ]
        call = asgi.Call(asgi.piece(body))
        portal.call(app, asgi.http_scope("POST", path, headers=headers), call.receive, call.send)
        return call.status, call.headers, call.body

    return ask


def walk(world: str, make: Callable[[], SessionBackend], walks: int) -> None:
    with nullcontext() if world == "wsgi" else start_blocking_portal(world) as portal:
        asking = asking_wsgi if portal is None else partial(asking_asgi, portal)
        machine = type(
            "SessionWalk", (Walk,), {"make": staticmethod(make), "asking": staticmethod(asking)}
        )
        run_state_machine_as_test(
            machine,
            settings=repeatable(walks, steps=15),
        )


OWN: dict[str, Callable[[], Any]] = {"own": Own, "own, async": OwnAsync}


@pytest.mark.parametrize("name", ["memory", "cookie", "own", "own, async", "sqlite", REDIS])
def test_a_request_sees_what_the_model_says(
    world: str, name: str, make_backend: MakeBackend
) -> None:
    walk(world, OWN.get(name) or partial(make_backend, name), 15)


@pytest.mark.processes  # none, but it takes long
@pytest.mark.parametrize("name", ["memory", "cookie", "own", "own, async", "sqlite", REDIS])
def test_many_requests_see_what_the_model_says(
    world: str, name: str, make_backend: MakeBackend
) -> None:
    walk(world, OWN.get(name) or partial(make_backend, name), 60)
