"""Every argument of the public decorators, classes and methods, given values of nineteen kinds: a
wrong one is a ``SetupError`` that names what it was given to, before the first request.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import pytest
from prometheus_client import CollectorRegistry

import micropie
import micropie.channels
import micropie.middleware
import micropie.openapi
import micropie.sessions
from micropie import App, SetupError, get, post
from micropie.middleware import RateLimit
from micropie.testing import TestClient


class Odd:
    pass


VALUES: dict[str, object] = {
    "int": 3,
    "negative": -1,
    "float": 3.5,
    "nan": float("nan"),
    "true": True,
    "text": "x",
    "empty": "",
    "lines": "a\nb",
    "bytes": b"x",
    "none": None,
    "object": object(),
    "list": [],
    "ints": [3],
    "lists": [[]],
    "texts": ["x"],
    "dict": {},
    "ofint": {"a": 3},
    "class": Odd,
    "function": lambda: 0,
}
TEXT = "text empty lines"
# What each argument takes of these.
ACCEPTED: dict[str, dict[str, str]] = {
    "BasicAuth": {"check": "dict", "realm": "text"},
    "BearerAuth": {
        "check": "",
        "realm": "text",
        "token_url": f"{TEXT} none",
        "scopes": "dict",
        "scheme": "text",
    },
    "AccessLog": {"logger": TEXT, "format": "", "query": "true"},
    "CORSMiddleware": {
        "origins": "",
        "origin_regex": f"{TEXT} none",
        "methods": "",
        "headers": "list texts dict ofint",
        "expose": "list texts dict ofint",
        "credentials": "true",
        "max_age": "int",
    },
    "CSRFMiddleware": {"trusted_origins": "list dict", "exempt": "list dict"},
    "Compress": {"minimum": "int", "level": "int", "types": "list dict", "codings": "none"},
    "ConcurrencyLimit": {"limit": "int", "retry_after": "int"},
    "ProxyHeaders": {"trusted": "", "hops": "int none", "host": "true", "forwarded": "true"},
    "RateLimit": {
        "limit": "int",
        "per": "int float",
        "key": "none",
        "store": "none",
        "exempt": "none",
        "when_unreachable": "",
    },
    "RequestId": {"header": "text", "trust": "true"},
    "SecurityHeaders": {
        "hsts": "int none",
        "hsts_subdomains": "true",
        "csp": f"{TEXT} none",
        "frame": "none",
        "referrer": "none",
        "opener": "none",
        "permissions": f"{TEXT} none",
    },
    "Timeout": {"seconds": "int float"},
    "Tracing": {"tracer_provider": "none", "query": "true"},
    "TrustedHosts": {"hosts": "text"},
    "SecurityDefaults": {
        "hosts": "text",
        "proxies": "list dict",
        "csp": f"{TEXT} none",
        "hsts": "int none",
        "trusted_origins": "list dict",
        "exempt": "list dict",
    },
    "Docs": {
        "path": "",
        "title": f"{TEXT} none",
        "version": TEXT,
        "description": f"{TEXT} none",
        "servers": "list texts",
        "requires": "list",
        "contact": "none dict",
        "license": "none dict",
        "terms_of_service": f"{TEXT} none",
        "tags": "dict",
        "responses": "dict",
        "assets": "none",
        "openapi": "",
        "asyncapi": "none",
    },
    "describe": {
        "summary": f"{TEXT} none",
        "description": f"{TEXT} none",
        "tags": "none list texts dict ofint",
        "status": "none",
        "responses": "none empty list dict",
        "response_model": "none",
        "operation_id": f"{TEXT} none",
        "deprecated": "true",
        "include_in_schema": "true",
    },
    "max_body_size": {"size": "int"},
    "max_data_size": {"size": "int"},
    "max_json_values": {"count": "int"},
    "run_in": {"placement": ""},
    "requires": {"checks": ""},
    "route": {"path": "none", "methods": "none", "name": f"{TEXT} none"},
    "Query": {"name": f"{TEXT} none"},
    "Header": {"name": f"{TEXT} none"},
    "Cookie": {"name": f"{TEXT} none"},
    "Form": {"name": f"{TEXT} none"},
    "Body": {"name": "none"},
    "Message": {"text": TEXT},
    "InMemorySessionBackend": {"capacity": "int"},
    "SQLiteSessionBackend": {"path": "text lines"},
    "RedisSessionBackend": {"url": "", "prefix": TEXT},
    "SignedCookieSessionBackend": {"secret": ""},
    "RedisChannels": {"url": "", "prefix": TEXT},
    "MemoryRates": {"capacity": "int", "clock": "function"},
    "RedisRates": {"url": "", "prefix": TEXT, "clock": "none function"},
    "app.mount": {
        "prefix": "",
        "target": "",
        "kind": "none",
        "isolated": "true",
        "strip": "",
        "bridge": "none",
    },
    "app.static": {
        "prefix": "",
        "directory": "empty",
        "name": f"{TEXT} none",
        "download": f"{TEXT} true",
        "content_type": "text empty none",
        "max_age": "int none",
        "cached": "true",
        "follow_symlinks": "true",
        "headers": "list dict",
    },
    "app.health": {"path": "none", "checks": "dict", "timeout": "int float", "live": "true"},
    "app.metrics": {
        "path": "none",
        "token": "text lines none",
        "registry": "none",
        "buckets": "none ints",
    },
    "app.route": {"path": "none", "methods": "none", "name": f"{TEXT} none"},
    "app.get": {"path": "none", "name": f"{TEXT} none"},
    "app.websocket": {"path": "none", "name": f"{TEXT} none"},
    "app.error": {"key": ""},
    "app.provides": {"key": "class", "once": "true"},
}
# What a call has beside the argument.
NEEDED: dict[str, dict[str, object]] = {
    "SecurityDefaults": {"hosts": "localhost"},
    "BasicAuth": {"check": {}},
    "BearerAuth": {"check": str.isalpha},
    "CORSMiddleware": {"origins": ["https://app.example"]},
    "ConcurrencyLimit": {"limit": 3},
    "ProxyHeaders": {"trusted": ["10.0.0.1"]},
    "RateLimit": {"limit": 3},
    "Timeout": {"seconds": 3},
    "SQLiteSessionBackend": {"path": "sessions.db"},
    "RedisSessionBackend": {"url": "redis://localhost:1"},
    "SignedCookieSessionBackend": {"secret": b"x" * 32},
    "RedisChannels": {"url": "redis://localhost:1"},
    "RedisRates": {"url": "redis://localhost:1"},
    "app.mount": {"prefix": "/mounted", "target": App()},
    "app.static": {"prefix": "/static", "directory": "."},
    "app.health": {"path": "/healthz"},
    "app.metrics": {"path": "/metrics"},
    "app.route": {"path": "/registered"},
    "app.get": {"path": "/registered"},
    "app.websocket": {"path": "/registered"},
    "app.error": {"key": 404},
    "app.provides": {"key": Odd},
}


class Root(App):
    @get
    def index(self) -> str:
        return ""


def below(decorator: Any) -> App:
    class Decorated(App):
        @decorator  # type: ignore[untyped-decorator]
        def index(self) -> str:
            return ""

    return Decorated()


def taking(source: Any) -> App:
    class Taking(Root):
        @post
        def other(self, value: str = "") -> str:
            return value

    Taking.other.__annotations__["value"] = Annotated[str, source]
    return Taking()


def with_hook(hook: Any) -> App:
    app = Root()
    app.middlewares.append(hook)
    return app


def with_rates(store: Any) -> App:
    return with_hook(RateLimit(3, store=store))


# Words of sentences that name neither the argument nor what takes it.
ALSO = ("route", "method", "trusted", "statuses", "result annotation", "ASGI")
# How an application has what a class or a decorator makes; middleware is a hook of it.
USES: dict[str, Callable[[Any], App]] = {
    "SecurityDefaults": lambda security: Root(security=security),
    "Docs": lambda docs: Root(docs=docs),
    **dict.fromkeys(
        [
            "describe",
            "max_body_size",
            "max_data_size",
            "max_json_values",
            "run_in",
            "requires",
            "route",
        ],
        below,
    ),
    **dict.fromkeys(["Query", "Header", "Cookie", "Form", "Body", "Message"], taking),
    **dict.fromkeys([one for one in ACCEPTED if one.endswith("SessionBackend")], Root),
    "RedisChannels": lambda channels: Root(channels=channels),
    "MemoryRates": with_rates,
    "RedisRates": with_rates,
}


def called(name: str) -> Any:
    """Return what has a name: a method of ``App``, a class or a decorator."""
    owner, _, last = name.rpartition(".")
    modules = (
        micropie, micropie.middleware, micropie.sessions, micropie.channels, micropie.openapi,
    )  # fmt: skip
    places: tuple[object, ...] = (App,) if owner else modules
    return next(getattr(place, last) for place in places if hasattr(place, last))


def made(name: str, arguments: dict[str, Any]) -> App:
    """Call something, and return an application that has the result."""
    function = called(name)
    if name.startswith("app."):
        app = Root()
        if name == "app.metrics":  # a registry keeps the buckets of its first call
            arguments.setdefault("registry", CollectorRegistry())
        registered = function(app, **arguments)
        if callable(registered):
            registered(on_socket if name == "app.websocket" else answer)
        return app
    parameters = inspect.signature(function).parameters.values()
    by_place = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.POSITIONAL_ONLY)
    first = [
        arguments.pop(one.name)
        for one in parameters
        if one.kind in by_place and one.name in arguments
    ]
    return USES.get(name, with_hook)(function(*first, **arguments))


def answer() -> Odd:
    return Odd()


async def on_socket(ws: Any) -> None: ...


# Classes whose objects micropie creates, and a filter that ``logging`` creates.
NOT_CREATED = {"Changes", "RequestIdFilter", "Session", "SessionStore", "Subscription", "Threads"}


def takes_settings(name: str) -> bool:
    """Return whether a name is a class that authors call with arguments."""
    kind = called(name)
    is_value = isinstance(kind, type) and issubclass(kind, (tuple, BaseException))
    if not isinstance(kind, type) or is_value or not kind.__module__.startswith("micropie."):
        return False
    kinds = [one.kind for one in inspect.signature(kind).parameters.values()]
    return any(
        one not in (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
        for one in kinds
    )


def test_each_battery_with_settings_is_in_the_table() -> None:
    batteries = micropie.middleware, micropie.sessions, micropie.channels, micropie.openapi
    names = {name for battery in batteries for name in battery.__all__}
    missing = {*filter(takes_settings, names)} - {*ACCEPTED} - NOT_CREATED
    assert missing == set(), "add to ACCEPTED what each argument takes"


@pytest.mark.parametrize("name", ACCEPTED)
def test_a_wrong_argument_is_reported_before_the_first_request(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    names = {*inspect.signature(called(name)).parameters} - {"self", "others", "given", "words"}
    assert names == {*ACCEPTED[name]}
    found = []
    for argument, accepted in ACCEPTED[name].items():
        for kind, value in VALUES.items():
            try:
                app = made(name, {**NEEDED.get(name, {}), argument: value})
                app._micropie.compiled()
            except SetupError as error:
                said = str(error)
                words = (argument, name.removeprefix("app."), *ALSO)
                is_right = kind not in accepted.split() and any(one in said for one in words)
                found += [] if is_right else [(argument, kind, said)]
                continue
            with TestClient(app, protocol="wsgi") as client:
                status = client.get("/").status_code
            if kind not in accepted.split() or status >= 500:
                found.append((argument, kind, f"is taken: {status}"))
    assert found == []


@pytest.mark.parametrize("target", [3, None, "x", App, Root, Root(), property(str), object()])
@pytest.mark.parametrize(
    "decorator",
    [
        *(one for one in (micropie.hidden, micropie.command, micropie.reads_body)),
        *(one("/path") for one in (micropie.route, micropie.get, micropie.websocket)),
        micropie.max_body_size(3),
        micropie.run_in("loop"),
        micropie.describe(summary="one"),
        *(getattr(Root(), one)("/path") for one in ("route", "get", "websocket")),
        Root().error(404),
        Root().command,
    ],
)
def test_decorators_refuse_objects_they_cannot_decorate(decorator: Any, target: Any) -> None:
    with pytest.raises(SetupError):
        decorator(target)


WRONG_ATTRIBUTES = {
    "middlewares": (RateLimit(3), RateLimit, 3, "x"),
    "ws_middlewares": (RateLimit(3), RateLimit, 3, "x"),
    "session_backend": (micropie.sessions.SQLiteSessionBackend, 3, "x", App()),
    "channels": (micropie.channels.RedisChannels, 3, "x", App()),
}


@pytest.mark.parametrize("name", WRONG_ATTRIBUTES)
def test_an_attribute_of_a_wrong_type_is_refused_when_it_is_assigned(name: str) -> None:
    for value in WRONG_ATTRIBUTES[name]:
        with pytest.raises(SetupError, match=name):
            setattr(Root(), name, value)
        with pytest.raises(SetupError, match=name):
            type("Wrong", (Root,), {name: value})()
