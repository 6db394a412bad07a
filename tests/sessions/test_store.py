"""Sessions between the flow and a backend: cookies, headers, settings, authors' own backends, and
what goes wrong.
"""

from __future__ import annotations

import json
import logging
import random
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote, unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from micropie import (
    App,
    HTTPError,
    HttpMiddleware,
    InMemorySessionBackend,
    Redirect,
    Response,
    SessionBackend,
    SetupError,
    post,
)
from micropie._core.errors import ResponseError
from micropie._core.http import check_size
from micropie._core.http.headers.cookies import parse_cookies
from micropie._core.sessions import serializer
from micropie.middleware import ProxyHeaders, csrf_token
from micropie.sessions import Session, SignedCookieSessionBackend
from micropie.testing import TestClient
from tests.asgi.calls import every_loop, get, run
from tests.support.clients import MakeClient
from tests.support.pairs import paired
from tests.support.steps import steps_of


class Own(SessionBackend):
    """An author's: `load` and `save`, and nothing else."""

    def __init__(self) -> None:
        self.data: dict[str, dict[str, Any]] = {}
        self.asked: list[str] = []

    def load(self, session_id: str) -> Any:
        self.asked.append(session_id)
        return dict(self.data.get(session_id, {}))

    def save(self, session_id: str, data: dict[str, Any], timeout: int) -> Any:
        self.data.pop(session_id, None)
        if data:
            self.data[session_id] = dict(data)


class OwnAsync(Own):
    async def load(self, session_id: str) -> Any:
        return super().load(session_id)

    async def save(self, session_id: str, data: dict[str, Any], timeout: int) -> Any:
        super().save(session_id, data, timeout)


class Quick(Own):
    blocking = False


class Duck:
    """Derives from nothing."""

    def __init__(self) -> None:
        self.data: dict[str, Any] = {}

    def load(self, session_id: str) -> Any:
        return self.data.get(session_id)

    def save(self, session_id: str, data: dict[str, Any], timeout: int) -> None:
        self.data[session_id] = data


def namespace() -> SimpleNamespace:
    """Return methods without a class of their own."""
    duck = Duck()
    return SimpleNamespace(load=duck.load, save=duck.save)


class AsyncMerge(OwnAsync):
    async def merge(self, session_id: str, changes: Any, timeout: int) -> Any:
        self.asked.append("merge")
        self.data[session_id] = changes.apply(self.data[session_id])
        return self.data[session_id]


OWN = [Own, OwnAsync, Quick, AsyncMerge]

ID = "x" * 43  # as long as those that are made here


class Root(App):
    def keep(self, key: str, value: str = "1") -> Any:
        self.request.session[key] = value

    def look(self) -> Any:
        return dict(self.request.session)

    def untouched(self) -> str:
        return "x"

    def has(self) -> str:
        return str("user" in self.request.session)

    def text(self) -> str:
        return "x" * len(self.request.session.get("x", ""))

    def numbers(self) -> list[int]:
        return [len(self.request.session.get("x", ""))]

    def clear(self) -> None:
        self.request.session.clear()

    def begin_anew(self) -> None:
        self.request.session.clear()
        self.request.session.update_atomic("count", lambda number: (number or 0) + 1)

    def rotate(self) -> None:
        self.request.session.regenerate()

    def itself(self) -> None:
        self.request.session = self.request.session

    def varies(self) -> Response:
        self.request.session["x"] = 1
        return Response("x", headers=[("Vary", "Accept, COOKIE"), ("Cache-Control", "no-store")])

    def everything(self) -> Response:
        self.request.session.get("x")
        return Response("x", headers=[("Vary", "*")])

    def language(self) -> Response:
        self.request.session.get("x")
        return Response("x", headers=[("Vary", "Accept-Language")])

    def late(self) -> Any:
        self.request.session["early"] = 1
        yield "a"
        self.request.session["late"] = 1

    def later(self) -> Any:
        yield "a"
        self.request.session["late"] = 1

    def reads_late(self) -> Any:
        self.request.session["early"] = 1
        yield "a"
        yield str(self.request.session["early"])

    def reads_at_the_end(self) -> Any:
        yield "a"
        yield str(self.request.session.get("x"))

    async def reads_later(self) -> Any:
        yield "a"
        yield str(self.request.session.get("user"))

    def unsendable(self) -> Response:
        self.request.session["x"] = 1
        return Response("x", headers=[("X-Bad", "a\nb")])


# -- the cookie ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "mount", "settings", "name", "attributes"),
    [
        ("http", "", {}, "", "Path=/; HttpOnly; SameSite=Lax"),
        ("https", "", {}, "__Host-", "Path=/; Secure; HttpOnly; SameSite=Lax"),
        ("https", "/shop", {}, "__Secure-", "Path=/shop; Secure; HttpOnly; SameSite=Lax"),
        (
            "https",
            "",
            {"session_cookie": "session_id"},
            "",
            "Path=/; Secure; HttpOnly; SameSite=Lax",
        ),
        ("http", "/shop", {}, "", "Path=/shop; HttpOnly; SameSite=Lax"),
        ("http", "/a;b é", {}, "", "Path=/a%3Bb%20%C3%A9; HttpOnly; SameSite=Lax"),
        ("http", "/@ann+1", {}, "", "Path=/@ann+1; HttpOnly; SameSite=Lax"),  # as browsers send it
        (
            "http",
            "",
            {"session_cookie_secure": True},
            "__Host-",
            "Path=/; Secure; HttpOnly; SameSite=Lax",
        ),
        ("https", "", {"session_cookie_secure": False}, "", "Path=/; HttpOnly; SameSite=Lax"),
    ],
)
def test_R45_the_cookie_and_its_deletion_have_the_same_attributes(
    make_client: MakeClient,
    url: str,
    mount: str,
    settings: dict[str, Any],
    name: str,
    attributes: str,
) -> None:
    client = make_client(Root(**settings), base_url=f"{url}://testserver", root_path=mount)
    answer = client.get("/keep/a")
    value, _, rest = answer.headers["set-cookie"].partition("; ")
    assert rest == f"Max-Age=28800; {attributes}"
    # A sibling host can plant the plain name in front of it.
    read = {"Cookie": value if name == "" else f"session_id={ID}; {value}"}
    assert client.get("/look", headers=read).json() == {"a": "1"}
    cleared = client.get("/clear", headers=read).headers["set-cookie"]
    assert cleared == f"{name}session_id=; Max-Age=0; {attributes}"


@pytest.mark.parametrize(("mount", "prefix"), [("", "__Host-"), ("/shop", "__Secure-")])
def test_R42_over_https_a_session_with_the_plain_cookie_name_is_ignored(
    make_client: MakeClient, mount: str, prefix: str
) -> None:
    """An attacker has a session, and plants its id from another host of the domain."""
    client = make_client(Root(), base_url="https://testserver", root_path=mount)
    value = client.get("/keep/a").headers["set-cookie"].partition(";")[0]
    client.cookies.clear()
    for planted in ("", *{"__Host-", "__Secure-"} - {prefix}):
        found = client.get("/look", headers={"Cookie": planted + value.removeprefix(prefix)}).json()
        assert found == {}
    assert client.get("/look", headers={"Cookie": value}).json() == {"a": "1"}


@pytest.mark.parametrize("kind", [Own, OwnAsync, Quick])
def test_R42_behind_a_tls_proxy_the_cookie_has_its_https_name(
    make_client: MakeClient, kind: Any
) -> None:
    """A hook says that the client speaks https, after the flow has looked whether there is a
    session.
    """
    app = Root(kind())
    app.middlewares.append(ProxyHeaders(trusted=["127.0.0.1"]))
    client = make_client(app)
    https = {"X-Forwarded-Proto": "https"}
    value = client.get("/keep/a", headers=https).headers["set-cookie"].partition(";")[0]
    assert value.startswith("__Host-session_id=")
    client.cookies.clear()
    planted = value.removeprefix("__Host-")
    asked = [
        ({**https, "Cookie": value}, {"a": "1"}),
        ({**https, "Cookie": planted}, {}),
        ({"Cookie": value}, {}),
    ]
    for headers, session in asked:
        assert client.get("/look", headers=headers).json() == session


@pytest.mark.parametrize("kind", [Own, OwnAsync, Quick])
def test_R42_a_websocket_behind_a_tls_proxy_has_the_session(kind: Any) -> None:
    class Chat(Root):
        async def ws_look(self, ws: Any) -> None:
            await ws.accept()
            await ws.send_json(dict(ws.session))

    app = Chat(kind())
    app.middlewares.append(ProxyHeaders(trusted=["127.0.0.1"]))
    https = {"X-Forwarded-Proto": "https"}
    with TestClient(app) as client:
        value = client.get("/keep/a", headers=https).headers["set-cookie"].partition(";")[0]
        client.cookies.clear()
        for cookie, session in ((value, {"a": "1"}), (value.removeprefix("__Host-"), {})):
            with client.websocket("/look", headers={**https, "Cookie": cookie}) as ws:
                assert ws.receive_json() == session


def test_R45_an_inner_application_with_its_own_sessions_has_its_own_cookie(
    make_client: MakeClient,
) -> None:
    app: Any = Root()
    app.inner = Root(InMemorySessionBackend())
    app.heir = Root(session_timeout=60, session_cookie_samesite="Strict")
    app.small = Root(max_session_size=20)
    client = make_client(app)
    assert "Path=/inner;" in client.get("/inner/keep/a").headers["set-cookie"]
    assert "Max-Age=28800; Path=/;" in client.get("/keep/b").headers["set-cookie"]
    seen = [client.get(path).json() for path in ("/look", "/inner/look", "/heir/look")]
    assert seen == [{"b": "1"}, {"a": "1"}, {"b": "1"}]
    sentence = "Max-Age=60; Path=/; HttpOnly; SameSite=Strict"
    assert sentence in client.get("/heir/keep/c").headers["set-cookie"]
    found = (client.get("/small/keep/d").status_code, client.get("/keep/d").status_code)
    assert found == (500, 200)


def test_R45_over_https_an_inner_application_s_cookie_has_another_name(
    make_client: MakeClient,
) -> None:
    app: Any = Root()
    app.inner = Root(InMemorySessionBackend())
    client = make_client(app, base_url="https://testserver")
    for path in ("/keep/b", "/inner/keep/a"):
        assert client.get(path).status_code == 200
    assert client.cookies.keys() == {"__Host-session_id", "__Secure-session_id"}
    answers = [client.get(path).json() for path in ("/look", "/inner/look")]
    assert answers == [{"b": "1"}, {"a": "1"}]


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("is_mounted", [False, True])
@pytest.mark.parametrize(
    "make_backends",
    [
        lambda: (InMemorySessionBackend(), InMemorySessionBackend()),
        lambda: tuple(SignedCookieSessionBackend(one * 32) for one in "ab"),
    ],
    ids=["memory", "signed"],
)
def test_R45_a_session_of_one_application_is_none_of_another_one(
    make_client: MakeClient, make_backends: Any, is_mounted: bool, scheme: str
) -> None:
    """Whatever name a visitor gives to its cookie: who is "admin" in a demo is none elsewhere."""
    outer, inner = (Root(backend) for backend in make_backends())
    if is_mounted:
        outer.mount("/inner", inner)
    else:
        outer.inner = inner
    client = make_client(outer, base_url=f"{scheme}://testserver")
    for own, other in (("", "/inner"), ("/inner", "")):
        cookie = client.get(f"{own}/keep/admin").headers["set-cookie"].partition(";")[0]
        client.cookies.clear()
        value = cookie.partition("=")[2]
        assert client.get(f"{own}/look", headers={"Cookie": cookie}).json() == {"admin": "1"}
        for name in ("session_id", "__Host-session_id", "__Secure-session_id"):
            found = client.get(f"{other}/look", headers={"Cookie": f"{name}={value}"})
            assert found.json() == {}


@pytest.mark.parametrize("kind", [Own, OwnAsync])
def test_what_is_counted_after_a_clear_is_stored_in_a_new_session(
    make_client: MakeClient, kind: Any
) -> None:
    backend = kind()
    client = make_client(Root(backend))
    client.get("/keep/count/7")
    (old,) = backend.data
    client.get("/begin_anew")
    assert old not in backend.data
    assert client.get("/look").json() == {"count": 1}


def test_session_ids_use_the_author_s_factory_and_validator(make_client: MakeClient) -> None:
    kept = Own()
    made = iter(["ours:1", "ours:2"])
    app = Root(
        kept,
        session_id_factory=lambda: next(made),
        session_id_validator=lambda value: value[:5] == "ours:",
    )
    client = make_client(app)
    client.get("/keep/a")
    assert client.cookies["session_id"] == "ours:1"
    assert client.get("/look", headers={"Cookie": "session_id=theirs:1"}).json() == {}
    assert client.get("/rotate").cookies["session_id"] == "ours:2"
    assert "theirs:1" not in kept.asked
    assert kept.data == {"ours:2": {"a": "1"}}


@pytest.mark.parametrize("backend", OWN)
@pytest.mark.parametrize(
    "value", ["x" * 44, "x" * 41, "../" * 14 + "x", "x" * 42 + "é", "x" * 42 + "\t", "x" * 42 + " "]
)
def test_R42_an_impossible_session_id_is_not_looked_up(
    make_client: MakeClient, backend: Any, value: str
) -> None:
    kept = backend()
    client = make_client(Root(kept), validate=False)
    assert (
        client.get("/look", headers={b"Cookie": f"session_id={value}x".encode("latin-1")}).json()
        == {}
    )
    assert kept.asked == []


@pytest.mark.parametrize("backend", OWN)
@pytest.mark.parametrize(
    "settings", [{"session_id_factory": lambda: "x"}, {"session_id_validator": lambda value: True}]
)
@pytest.mark.parametrize("value", ["x" * 257, "é", "a\tb"])
def test_R42_an_id_that_the_factory_could_not_create_is_not_looked_up(
    make_client: MakeClient, backend: Any, settings: Any, value: str
) -> None:
    kept = backend()
    client = make_client(Root(kept, **settings), validate=False)
    found = client.get("/look", headers={b"Cookie": f"session_id={value}".encode("latin-1")}).json()
    assert found == {}
    assert kept.asked == []


def test_session_ids_cannot_be_guessed(make_client: MakeClient) -> None:
    client = make_client(Root())
    ids = set()
    for _ in range(50):
        client.cookies.clear()
        ids.add(client.get("/keep/a").cookies["session_id"])
    assert len(ids) == 50
    assert {len(value) for value in ids} == {43}


@pytest.mark.parametrize(
    ("name", "value"),
    [("session_id_factory", "x"), ("session_id_validator", 1), ("session_cookie_secure", "yes")],
)
def test_invalid_settings_are_refused(name: str, value: Any) -> None:
    with pytest.raises(SetupError, match=name):
        Root(**{name: value})


@pytest.mark.parametrize(
    "header", ["=session_id=x", "$Version=1; =", ";;;", 'session_id="', "session_id", "a\tb=\xff"]
)
def test_R49_a_malformed_cookie_header_has_no_session(make_client: MakeClient, header: str) -> None:
    client = make_client(Root(), validate=False)
    answer = client.get("/look", headers={b"Cookie": header.encode("latin-1")})
    assert (answer.status_code, answer.json()) == (200, {})


def test_R49_no_cookie_header_breaks_the_parser() -> None:
    rng = random.Random(4)
    for _ in range(5000):
        text = "".join(rng.choices('ab=;, "\\$\t\x00\x7f\xe9', k=rng.randrange(40)))
        cookies = parse_cookies(text)
        assert "" not in cookies
    texts = ["; ".join(f"{number}=" for number in range(count)) for count in (500, 1_000)]
    assert len(parse_cookies(texts[1])) == 1_000
    once, twice = (steps_of(parse_cookies, text) for text in texts)
    assert twice <= 2 * once + 10


def test_R49_the_first_of_two_session_cookies_counts(make_client: MakeClient) -> None:
    client = make_client(Root())
    session_id = client.get("/keep/a").cookies["session_id"]
    client.cookies.clear()
    found = client.get("/look", headers={"Cookie": f"session_id={session_id}; session_id=x"}).json()
    assert found == {"a": "1"}


# -- caches ----------------------------------------------------------------------------------------


VARIES = {
    "/untouched": [],
    "/look": ["Cookie"],
    "/has": ["Cookie"],
    "/text": ["Cookie"],
    "/numbers": ["Cookie"],
    "/keep/b": ["Cookie"],
    "/varies": ["Accept, COOKIE"],
    "/everything": ["*"],
    "/language": ["Accept-Language", "Cookie"],
    "/reads_late": ["Cookie"],
    "/reads_at_the_end": ["Cookie"],
    "/mounted": [],
    "/files/file": [],
}


def streams(environ: Any, start_response: Any) -> Iterator[bytes]:
    """A mounted application, whose headers are its own."""
    start_response("200 OK", [("Content-Type", "text/plain")])
    yield b"a"
    yield b"b"


@pytest.mark.parametrize(("path", "backend"), paired(list(VARIES), [InMemorySessionBackend, *OWN]))
@pytest.mark.parametrize("known", [True, False])
def test_R48_a_response_made_from_a_session_varies_by_cookie(
    make_client: MakeClient, backend: Any, path: str, known: bool, tmp_path: Path
) -> None:
    app = Root(backend())
    app.mount("/mounted", streams)
    (tmp_path / "file").write_bytes(bytes(300_000))  # too large for one piece
    app.static("/files", tmp_path)
    client = make_client(app)
    if known:
        client.get("/keep/a")
    varies = [] if path == "/reads_at_the_end" and not known else VARIES[path]
    assert client.get(path).headers.get_list("vary") == varies


@every_loop
def test_R4_cookie_headers_split_by_http_2_are_joined(backend: str) -> None:
    sessions = InMemorySessionBackend()
    sessions.save(ID, {"a": 1}, 60)
    pieces = [b"x=1", f"session_id={ID}; session_id={'y' * 43}".encode(), b"y=2"]
    headers = [
        (name, value)
        for piece in pieces
        for name, value in ((b"cookie", piece), (b"x-between", b"1"))
    ]
    assert run(backend, lambda: get(Root(sessions), "/look", headers=headers)).body == b'{"a":1}'


def test_R48_a_response_with_the_session_cookie_is_private(make_client: MakeClient) -> None:
    client = make_client(Root())
    private = [
        client.get(path).headers.get("cache-control")
        for path in ("/keep/a", "/look", "/untouched", "/varies")
    ]
    assert private == ["private", "private", None, "no-store"]


class Cached(App):
    """Answers that state for how long caches may keep them."""

    def reads(self, cache: str) -> Any:
        return 200, str(self.request.session.get("a")), {"Cache-Control": cache}

    def writes(self, cache: str) -> Any:
        self.request.session["a"] = self.request.session.get("a", 0) + 1
        return 200, "x", {"Cache-Control": cache}

    def shows_a_form(self, cache: str) -> Any:
        return 200, csrf_token(self.request), {"Cache-Control": cache}


@pytest.mark.parametrize(
    ("stated", "sent"),
    [
        ("public, max-age=60", "private, max-age=60"),
        ("Public", "private"),
        ("public,, max-age=60", "private, max-age=60"),
        ("s-maxage=60, max-age=5", "private, max-age=5"),
        ("max-age=60", "private, max-age=60"),
        ("no-cache", "private, no-cache"),
        ("no-store", "no-store"),
        ("max-age=60, private", "max-age=60, private"),
    ],
)
def test_R48_no_shared_cache_stores_a_session_cookie(
    make_client: MakeClient, stated: str, sent: str, caplog: pytest.LogCaptureFixture
) -> None:
    client = make_client(Cached())
    for path in ("/shows_a_form", "/writes"):
        caplog.clear()
        answer = client.get(path, params={"cache": stated})
        assert (answer.headers["cache-control"], "set-cookie" in answer.headers) == (sent, True)
        warned = [
            "Cache-Control: public was changed" in record.getMessage() for record in caplog.records
        ]
        assert warned == ([True] if "ublic" in stated or "s-maxage" in stated else [])
    # The session is only read: the author's own words are sent.
    assert client.get("/reads", params={"cache": stated}).headers["cache-control"] == stated


# -- the name of the cookie ------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["__Host-id", "__Secure-id"])
def test_R45_a_cookie_name_with_a_prefix_is_kept_over_https(
    make_client: MakeClient, name: str
) -> None:
    app: Any = Root(session_cookie=name)
    app.inner = Root(InMemorySessionBackend(), session_cookie=f"{name}-inner")
    client = make_client(app, base_url="https://testserver", root_path="/shop")
    at_root, at_mount = (
        ("Path=/;", "Path=/;") if name == "__Host-id" else ("Path=/shop;", "Path=/shop/inner;")
    )
    for path, kept, at in (("", name, at_root), ("/inner", f"{name}-inner", at_mount)):
        set_cookie = client.get(f"{path}/keep/a").headers["set-cookie"]
        value = set_cookie.partition(";")[0]
        assert value.startswith(f"{kept}=")
        assert at in set_cookie
        assert "Secure; HttpOnly; SameSite=Lax" in set_cookie
        assert "Domain" not in set_cookie
        client.cookies.clear()
        # A sibling host can plant the plain name in front of it.
        planted = f"id={ID}; {kept.removeprefix('__Host-').removeprefix('__Secure-')}={ID}; {value}"
        assert client.get(f"{path}/look", headers={"Cookie": planted}).json() == {"a": "1"}
        assert client.get(f"{path}/look", headers={"Cookie": value.partition("-")[2]}).json() == {}


@pytest.mark.parametrize(
    ("scheme", "name"), [("https", "__Secure-session_id"), ("http", "session_id")]
)
def test_all_hosts_of_a_domain_may_share_a_session(
    make_client: MakeClient, scheme: str, name: str
) -> None:
    app = Root(session_cookie_domain="example.com")
    client = make_client(app, base_url=f"{scheme}://shop.example.com")
    set_cookie = client.get("/keep/a").headers["set-cookie"]
    assert set_cookie.startswith(f"{name}=")
    assert "Domain=example.com;" in set_cookie
    assert client.get(f"{scheme}://blog.example.com/look").json() == {"a": "1"}
    assert client.get(f"{scheme}://other.example/look").json() == {}


def test_R45_over_plain_http_the_cookie_name_has_no_prefix(make_client: MakeClient) -> None:
    client = make_client(Root(session_cookie="__Host-id"), root_path="/shop")
    set_cookie = client.get("/keep/a").headers["set-cookie"]
    assert set_cookie.startswith("id=")
    assert set_cookie.endswith("Path=/shop; HttpOnly; SameSite=Lax")
    value = set_cookie.partition(";")[0]
    client.cookies.clear()
    assert client.get("/look", headers={"Cookie": value}).json() == {"a": "1"}
    assert client.get("/look", headers={"Cookie": f"__Host-{value}"}).json() == {}


@pytest.mark.parametrize("samesite", ["Lax", "Strict", "None"])
def test_R45_samesite_is_a_setting(make_client: MakeClient, samesite: Any) -> None:
    app = Root(session_cookie_samesite=samesite, session_cookie_secure=True, session_cookie="own")
    set_cookie = (
        make_client(app, base_url="https://testserver").get("/keep/a").headers["set-cookie"]
    )
    assert set_cookie.startswith("own=")
    assert set_cookie.endswith(f"SameSite={samesite}")


def test_a_partitioned_cookie_works_in_frames_of_other_sites(make_client: MakeClient) -> None:
    class Framed(Root):
        def token(self) -> str:
            return csrf_token(self.request)

    app = Framed(
        session_cookie_samesite="None", session_cookie_secure=True, session_cookie_partitioned=True
    )
    client = make_client(app, base_url="https://testserver")
    for path, name in (("/keep/a", "session_id"), ("/token", "csrf_token")):
        client.cookies.clear()
        set_cookie = client.get(path).headers["set-cookie"]
        assert set_cookie.startswith(f"__Host-{name}=")
        assert set_cookie.endswith("; Secure; HttpOnly; Partitioned; SameSite=None")


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"session_cookie": "a b"}, "the name of a cookie"),
        ({"session_cookie": ""}, "the name of a cookie"),
        ({"session_cookie": 5}, "the name of a cookie"),
        ({"session_cookie_domain": "https://example.com"}, "a domain without scheme and port"),
        ({"session_cookie_domain": "example.com:8000"}, "a domain without scheme and port"),
        ({"session_cookie_domain": "*.example.com"}, "a domain without scheme and port"),
        ({"session_cookie_domain": "[::1]"}, "a domain without scheme and port"),
        ({"session_cookie_domain": ""}, "a domain without scheme and port"),
        ({"session_cookie_domain": 5}, "a domain without scheme and port"),
        (
            {"session_cookie_domain": "example.com", "session_cookie": "__Host-id"},
            "can't have a session_cookie_domain",
        ),
        ({"session_cookie": "__Host-id", "session_cookie_secure": False}, "needs https"),
        ({"session_cookie_samesite": "lax"}, '"Lax", "Strict" or "None"'),
        ({"session_cookie_samesite": "None"}, "needs session_cookie_secure=True"),
        ({"session_cookie_partitioned": True}, 'needs session_cookie_samesite="None"'),
        ({"session_save_on_error": 1}, "True or False"),
    ],
)
def test_cookie_settings_that_browsers_would_refuse_raise_errors(
    settings: dict[str, Any], reason: str
) -> None:
    with pytest.raises(SetupError, match=reason):
        Root(**settings)


# -- when it is saved ------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", [InMemorySessionBackend, *OWN])
@pytest.mark.parametrize("path", ["/late", "/later"])
@pytest.mark.parametrize("known", [True, False])
def test_R51_a_change_after_the_response_has_started_raises_a_clear_error(
    make_client: MakeClient, backend: Any, path: str, known: bool, caplog: pytest.LogCaptureFixture
) -> None:
    client = make_client(Root(backend()), raise_app_exceptions=False)
    if known:
        client.get("/keep/a")
    with pytest.raises(Exception, match=r"."):  # the answer is cut off
        client.get(path)
    assert "change the session before the first yield" in caplog.text


@pytest.mark.parametrize("backend", [InMemorySessionBackend, *OWN])
def test_R51_a_stream_may_read_a_session_to_its_end(make_client: MakeClient, backend: Any) -> None:
    client = make_client(Root(backend()))
    client.get("/keep/user/me")
    assert [client.get(path).text for path in ("/reads_late", "/reads_later")] == ["a1", "ame"]
    assert client.get("/look").json() == {"user": "me", "early": 1}


@pytest.mark.parametrize("backend", [InMemorySessionBackend, *OWN])
def test_R51_a_stream_sees_the_session_id_that_was_sent(
    make_client: MakeClient, backend: Any
) -> None:
    class Streaming(Root):
        def known(self, path: str = "keep") -> Any:
            getattr(self, path)(*(["a"] if path == "keep" else []))
            yield "id "
            yield str(self.request.session.id)

    client = make_client(Streaming(backend()))
    for path in ("keep", "rotate", "keep"):
        assert client.get(f"/known/{path}").text == f"id {client.cookies['session_id']}"


@pytest.mark.parametrize("backend", [InMemorySessionBackend, *OWN])
def test_R51_hooks_and_inner_applications_share_the_session(
    make_client: MakeClient, backend: Any
) -> None:
    class Marks(HttpMiddleware):
        async def before_request(self, request: Any) -> Any:
            request.session["before"] = 1

        def after_request(self, request: Any, *_: Any) -> Any:
            request.session["after"] = 1

    app: Any = Root(backend())
    app.inner = Root()
    app.middlewares.append(Marks())
    client = make_client(app)
    assert client.get("/inner/look").json() == {"before": 1}
    assert client.get("/look").json() == {"before": 1, "after": 1}


def test_a_response_that_cannot_be_sent_leaves_no_session_without_a_cookie(
    make_client: MakeClient,
) -> None:
    kept = Own()
    answer = make_client(Root(kept)).get("/unsendable")
    assert (answer.status_code, kept.data, dict(answer.cookies)) == (500, {}, {})
    answer = make_client(Root(kept, session_save_on_error=True)).get("/unsendable")
    assert answer.status_code == 500
    assert list(kept.data) == [answer.cookies["session_id"]]


def test_a_session_may_be_assigned_to_itself(make_client: MakeClient) -> None:
    client = make_client(Root())
    client.get("/keep/a")
    client.get("/itself")
    assert client.get("/look").json() == {"a": "1"}


# -- authors' own backends -------------------------------------------------------------------------


@pytest.mark.parametrize("backend", OWN)
def test_R43_a_backend_without_merge_still_merges_changes(
    make_client: MakeClient, backend: Any
) -> None:
    kept = backend()

    class Slow(Root):
        def slow(self) -> None:
            self.request.session.get("x")
            ((session_id, data),) = kept.data.items()
            kept.data[session_id] = {**data, "other": "2"}
            self.request.session["mine"] = "3"

    client = make_client(Slow(kept))
    client.get("/keep/a")
    client.get("/slow")
    assert client.get("/look").json() == {"a": "1", "other": "2", "mine": "3"}
    assert ("merge" in kept.asked) == (backend is AsyncMerge)


@pytest.mark.parametrize("backend", [Own, OwnAsync, Quick])
@pytest.mark.parametrize("change", ["keep", "rotate"])
def test_R43_a_logout_is_final_with_a_backend_without_merge(
    make_client: MakeClient, backend: Any, change: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    kept = backend()

    class Slow(Root):
        def slow(self) -> None:
            self.request.session.get("x")
            kept.data.clear()
            getattr(self, change)(*(["late"] if change == "keep" else []))

    client = make_client(Slow(kept))
    client.get("/keep/a")
    answer = client.get("/slow")
    assert (answer.status_code, "set-cookie" in answer.headers) == (200, False)
    assert kept.data == {}
    assert "was deleted during a request" in caplog.text


@pytest.mark.parametrize("backend", [Own, OwnAsync, Quick])
def test_R42_a_new_id_ends_the_old_one_with_a_backend_without_merge(
    make_client: MakeClient, backend: Any
) -> None:
    kept = backend()
    client = make_client(Root(kept))
    old = client.get("/keep/a").cookies["session_id"]
    new = client.get("/rotate").cookies["session_id"]
    assert old != new
    assert kept.data == {new: {"a": "1"}}


@pytest.mark.parametrize("kind", [Duck, namespace])
def test_a_backend_need_not_derive_from_a_base_class(
    make_client: MakeClient, kind: Callable[[], Any]
) -> None:
    client = make_client(Root(kind()))
    client.get("/keep/a")
    assert client.get("/look").json() == {"a": "1"}


def test_a_backend_that_never_waits_is_read_when_a_handler_uses_the_session(
    make_client: MakeClient,
) -> None:
    kept = Quick()
    client = make_client(Root(kept), headers={"Cookie": f"session_id={ID}"})
    client.get("/untouched")
    assert kept.asked == []
    client.get("/look")
    assert kept.asked == [ID]


def test_a_custom_backend_may_store_its_data_in_the_cookie(make_client: MakeClient) -> None:
    class InCookie(Quick):
        in_cookie = True

        def load(self, session_id: str) -> Any:
            return json.loads(unquote(session_id))

        def save(self, session_id: str, data: dict[str, Any], timeout: int) -> str:
            assert session_id == ""  # the data has no id
            return quote(json.dumps(data))

    client = make_client(Root(InCookie()))
    for path in ("/keep/a", "/keep/b"):
        assert client.get(path).status_code == 200
    assert client.cookies["session_id"] == quote('{"a": "1", "b": "1"}')
    assert client.get("/look").json() == {"a": "1", "b": "1"}


def test_a_backend_that_is_falsy_is_used(make_client: MakeClient) -> None:
    class Sized(Own):
        def __len__(self) -> int:
            return len(self.data)

    kept = Sized()
    make_client(Root(kept)).get("/keep/a")
    assert len(kept) == 1


def test_methods_that_a_subclass_overrides_are_called(make_client: MakeClient) -> None:
    asked, saved = [], []

    class Logged(InMemorySessionBackend):
        def load(self, session_id: str) -> Any:
            asked.append(session_id)
            return super().load(session_id)

        def save(self, session_id: str, data: dict[str, Any], timeout: int) -> None:
            saved.append(dict(data))
            super().save(session_id, data, timeout)

    client = make_client(Root(Logged()))
    client.get("/keep/a")
    assert (client.get("/look").json(), asked) == ({"a": "1"}, [client.cookies["session_id"]])
    client.get("/keep/b")
    assert saved == [{"a": "1"}, {"a": "1", "b": "1"}]


class Copied:
    """A value that counts its copies."""

    def __init__(self) -> None:
        self.copies = 0

    def __deepcopy__(self, memo: Any) -> Copied:
        self.copies += 1
        return self


def test_a_backend_that_shares_its_data_is_not_asked_for_copies(make_client: MakeClient) -> None:
    class Sharing(Quick):
        def load(self, session_id: str) -> Any:
            raise AssertionError("a copy")

        def load_shared(self, session_id: str) -> Any:
            return self.data.get(session_id, {})

    kept, value = Sharing(), Copied()
    kept.data[ID] = {"user": value}
    found = make_client(Root(kept)).get("/has", headers={"Cookie": f"session_id={ID}"}).text
    assert found == "True"
    assert value.copies == 1  # the session's own, with which it compares what is stored


# -- one request's data is no other's --------------------------------------------------------------


class Shares(Own):
    """Gives what it keeps and goes on to change it, as an author's may who did not think of it."""

    def load(self, session_id: str) -> Any:
        return self.data.get(session_id)

    def save(self, session_id: str, data: dict[str, Any], timeout: int) -> Any:
        self.data.setdefault(session_id, {}).update(data)


class SharesAtOnce(Shares):
    blocking = False


class Cart(Root):
    """`_meanwhile` is another request of the same client."""

    _meanwhile: Any = None

    def open(self) -> None:
        self.request.session["cart"] = {"items": ["a"]}

    def add(self) -> Any:
        self.request.session["cart"]["items"].append("b")
        return self._meanwhile()

    def other(self) -> None:
        self.request.session.get("cart")
        self._meanwhile()
        self.request.session["mine"] = 1


SHARED = [InMemorySessionBackend, Shares, SharesAtOnce]


@pytest.mark.parametrize("backend", SHARED)
def test_a_change_inside_a_value_is_visible_to_others_once_saved(
    make_client: MakeClient, backend: Any
) -> None:
    app = Cart(backend())
    client = make_client(app)
    client.get("/open")
    cookie = {"Cookie": f"session_id={client.cookies['session_id']}"}
    app._meanwhile = lambda: (
        TestClient(app, protocol="wsgi", lifespan=False).get("/look", headers=cookie).json()
    )
    assert client.get("/add").json() == {"cart": {"items": ["a"]}}
    assert client.get("/look").json() == {"cart": {"items": ["a", "b"]}}


@pytest.mark.parametrize("backend", SHARED)
def test_R43_data_stored_by_others_meanwhile_is_not_taken_for_a_change(
    make_client: MakeClient, backend: Any
) -> None:
    kept = backend()
    app = Cart(kept)
    client = make_client(app)
    client.get("/open")
    session_id = client.cookies["session_id"]
    app._meanwhile = lambda: kept.save(session_id, {"cart": "other"}, 60)
    client.get("/other")
    assert client.get("/look").json() == {"cart": "other", "mine": 1}


def test_many_threads_may_read_the_memory_backend_concurrently() -> None:
    backend = InMemorySessionBackend(capacity=50)

    def work(number: int) -> None:
        for turn in range(2000):
            key = str((number + turn) % 60)
            if turn % 3:
                assert backend.load_shared(key) in ({}, {"key": key})
            else:
                backend.save(key, {"key": key}, 60)

    with ThreadPoolExecutor(6) as threads:
        list(threads.map(work, range(6)))
    assert len(backend._sessions) == 50


# -- an unavailable backend --------------------------------------------------------------------------


class Down(Own):
    """`when`: the method that can't reach what it needs."""

    def __init__(self, when: str) -> None:
        super().__init__()
        self.when = when

    def load(self, session_id: str) -> Any:
        if self.when == "load":
            raise TimeoutError
        return super().load(session_id)

    def save(self, session_id: str, data: dict[str, Any], timeout: int) -> Any:
        if self.when == "save":
            raise ConnectionRefusedError
        super().save(session_id, data, timeout)


class DownAsync(Down):
    async def load(self, session_id: str) -> Any:
        return super().load(session_id)

    async def save(self, session_id: str, data: dict[str, Any], timeout: int) -> Any:
        super().save(session_id, data, timeout)


class DownQuick(Down):
    blocking = False


class Broken(Own):
    def save(self, session_id: str, data: dict[str, Any], timeout: int) -> Any:
        raise KeyError("a mistake")


@pytest.mark.parametrize("backend", [Down, DownAsync, DownQuick])
@pytest.mark.parametrize("when", ["load", "save"])
def test_an_unavailable_backend_gets_a_503_and_a_log_line(
    make_client: MakeClient, backend: Any, when: str, caplog: pytest.LogCaptureFixture
) -> None:
    client = make_client(Root(backend(when)))
    for _ in range(3):  # an outage is many requests
        answer = client.get("/keep/a", headers={"Cookie": f"session_id={ID}"})
        seen = (answer.status_code, answer.text)
        assert seen == (503, "The session store is unavailable. Please try again in a moment.")
        assert answer.headers["retry-after"] == "5"
        assert "set-cookie" not in answer.headers
    assert [record.getMessage() for record in caplog.records] == [
        f"the session backend {backend.__name__} is unavailable, so {when}() fails: "
        + ("TimeoutError: " if when == "load" else "ConnectionRefusedError: ")
    ]


@pytest.mark.parametrize("backend", [Down, DownAsync, DownQuick])
@pytest.mark.parametrize("when", ["load", "save"])
def test_each_outage_and_its_end_are_logged_once(
    make_client: MakeClient,
    backend: Any,
    when: str,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("micropie._core.execution.steps.outage._REPORT_AGAIN", 0.0)
    monkeypatch.setattr("micropie._core.execution.steps.Outage.retry_after", 0.0)
    down = backend(when)
    client = make_client(Root(down))
    for method in (when, "", when):
        down.when = method
        for _ in range(2):
            answer = client.get("/keep/a", headers={"Cookie": f"session_id={ID}"})
            assert answer.status_code == (503 if method else 200)
    name = f"the session backend {backend.__name__}"
    assert [record.levelname for record in caplog.records] == ["ERROR", "WARNING", "ERROR"]
    assert caplog.records[1].getMessage() == f"{name} is available again"


def test_a_hook_that_writes_to_an_unavailable_session_changes_nothing(
    make_client: MakeClient,
) -> None:
    class Marks(HttpMiddleware):
        def after_request(self, request: Any, *_: Any) -> Any:
            request.session["after"] = 1

    app = Root(Down("save"))
    app.middlewares.append(Marks())
    assert make_client(app).get("/keep/a").status_code == 503


def test_requests_without_a_session_work_while_the_backend_is_unavailable(
    make_client: MakeClient,
) -> None:
    assert make_client(Root(Down("load"))).get("/untouched").status_code == 200


def test_an_error_handler_may_handle_an_unavailable_backend(make_client: MakeClient) -> None:
    app = Root(Down("save"))

    @app.error(503)
    def sorry() -> str:
        return "sorry"

    answer = make_client(app).get("/keep/a")
    assert (answer.status_code, answer.text) == (503, "sorry")


def test_a_bug_in_a_backend_gets_a_500(make_client: MakeClient) -> None:
    assert make_client(Root(Broken())).get("/keep/a").status_code == 500


# -- in memory -------------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", [*OWN, Duck])
def test_R50_sessions_of_a_custom_backend_have_a_size_limit(
    make_client: MakeClient, backend: Any, caplog: pytest.LogCaptureFixture
) -> None:
    kept = backend()
    client = make_client(Root(kept, max_session_size=1000))
    assert client.get(f"/keep/a/{'x' * 1000}").status_code == 500
    assert kept.data == {}
    client.get("/keep/a")
    assert client.get(f"/keep/{'x' * 1000}/1").status_code == 500
    assert [*kept.data.values()] == [{"a": "1"}]
    failures = [str(record.exc_info[1]) for record in caplog.records if record.exc_info]
    assert ["max_session_size=1000" in failure for failure in failures] == [True, True]
    assert len(failures[1]) < 300  # a long key is cut


def test_R50_values_that_only_a_custom_backend_can_store_count(make_client: MakeClient) -> None:
    class Dates(App):
        def keep(self, days: int) -> None:
            self.request.session["days"] = {(2000, day): time.gmtime(day) for day in range(days)}
            self.request.session["when"] = [threading.Lock()] * days

    kept = Own()
    client = make_client(Dates(kept, max_session_size=1000))
    assert client.get("/keep/100").status_code == 500
    assert kept.data == {}
    assert client.get("/keep/1").status_code == 200


DATA = st.dictionaries(
    st.text(max_size=3) | st.integers(),
    st.one_of(
        *(st.text(max_size=9), st.integers(), st.integers(2**63 - 2, 2**64), st.floats()),
        *(st.booleans(), st.none(), st.lists(st.text(max_size=3), max_size=2)),
    ),
    max_size=3,
)


@given(data=DATA, beyond=st.integers(-2, 2))
def test_R50_a_session_s_size_is_that_of_its_json(data: dict[Any, Any], beyond: int) -> None:
    """Most are not encoded for it."""
    size = len(json.dumps(data, separators=(",", ":")))
    is_refused = bool(data) and beyond > 0
    with pytest.raises(ResponseError) if is_refused else nullcontext():
        check_size(data, size - beyond, "{}")


@given(data=DATA)
def test_a_session_in_memory_equals_its_json(data: dict[Any, Any]) -> None:
    try:
        expected = serializer.loads(serializer.dumps(data))
    except ResponseError:
        with pytest.raises(ResponseError):
            serializer.as_loaded(data)
    else:
        made = serializer.as_loaded(data)
        assert repr(made) == repr(expected)
        assert made is not data


def test_R50_an_empty_session_has_no_size(make_client: MakeClient) -> None:
    client = make_client(Root(max_session_size=0))
    assert client.get("/keep/a").status_code == 500
    assert client.get("/clear").status_code == 200


def test_R50_the_memory_backend_is_bounded(make_client: MakeClient) -> None:
    backend = InMemorySessionBackend(capacity=100)
    client = make_client(Root(backend))
    for _ in range(150):
        client.cookies.clear()
        client.get("/keep/a")
    assert len(backend._sessions) == 100
    for number in range(10_000):
        backend.save(str(number), {"x": 1}, 60)
    assert len(backend._sessions) == 100


def test_R50_the_least_recently_read_session_is_dropped(make_client: MakeClient) -> None:
    backend = InMemorySessionBackend(capacity=3)
    first, second, third, fourth = (name * 43 for name in "abcd")
    for session_id in (first, second, third):
        backend.save(session_id, {"x": 1}, 60)
    make_client(Root(backend)).get("/look", headers={"Cookie": f"session_id={first}"})
    backend.save(fourth, {"x": 1}, 60)
    assert list(backend._sessions) == [third, first, fourth]


def test_R50_the_memory_backend_drops_expired_sessions_without_requests(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = [1000.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    backend = InMemorySessionBackend()
    for number in range(100):
        backend.save(str(number), {"x": 1}, 60)
    now[0] += 30
    backend.save("kept", {"x": 1}, 60)
    now[0] += 31
    backend.save("new", {"x": 1}, 60)
    assert list(backend._sessions) == ["kept", "new"]


def test_the_memory_backend_returns_copies_of_merged_data() -> None:
    backend = InMemorySessionBackend()
    backend.save("id", {"list": []}, 60)
    session = Session("id", backend.load("id"))
    session["list"].append(1)
    backend.merge("id", session.changes(), 60)["list"].append(2)
    session["list"].append(3)
    assert backend.load("id") == {"list": [1]}


class ByLink(App):
    """Handlers that change the session on GET, and others that only look as if they did."""

    def greet(self, name: str = "") -> str:
        self.request.session["name"] = name
        return "hello"

    async def count(self) -> str:
        return str(self.request.session.update_atomic("count", lambda n: (n or 0) + 1))

    def cart(self) -> str:
        self.request.session.setdefault("cart", []).append("pie")
        raise Redirect("/")

    def stream(self) -> Any:
        self.request.session["seen"] = True
        yield "a"

    def forbidden(self) -> str:
        self.request.session["tries"] = 1
        raise HTTPError(403)

    def broken(self) -> str:
        self.request.session["lost"] = 1
        raise HTTPError(500)

    def form(self) -> str:
        return csrf_token(self.request)

    @post
    def tell(self) -> str:
        self.request.session["said"] = "hello"
        return "told"

    def shown(self) -> str:
        return str(self.request.session.pop("said", None))

    def logout(self) -> str:
        self.request.session.clear()
        return "bye"

    def read(self) -> str:
        return str(self.request.session.get("name"))


def warnings_of_get(caplog: pytest.LogCaptureFixture) -> list[str]:
    found = [record for record in caplog.records if "changed the session" in record.getMessage()]
    assert all((record.name, record.levelno) == ("micropie", logging.WARNING) for record in found)
    return [record.getMessage() for record in found]


@pytest.mark.parametrize("backend", [InMemorySessionBackend, OwnAsync])
def test_debug_reports_each_handler_that_changes_the_session_on_get_once(
    backend: Callable[[], SessionBackend], make_client: MakeClient, caplog: pytest.LogCaptureFixture
) -> None:
    class Root(App):
        inner = ByLink()

    client = make_client(Root(backend(), debug=True), raise_app_exceptions=False)
    for _ in range(2):
        for name in ("greet?name=Ann", "count", "cart", "stream", "forbidden", "broken"):
            client.get(f"/inner/{name}")
    assert warnings_of_get(caplog) == [
        f"inner.{name} changed the session on GET, which a link on any page can trigger: use @post for the handler"
        for name in ("greet", "count", "cart", "stream", "forbidden")
    ]


def test_debug_reports_a_handler_that_changes_the_session_on_head(
    make_client: MakeClient, caplog: pytest.LogCaptureFixture
) -> None:
    client = make_client(ByLink(debug=True))
    client.head("/greet")
    client.get("/greet?name=Ann")
    assert warnings_of_get(caplog) == [
        "greet changed the session on HEAD, which a link on any page can trigger: use @post for the handler"
    ]


def test_debug_does_not_warn_about_posts_tokens_removals_and_reads(
    make_client: MakeClient, caplog: pytest.LogCaptureFixture
) -> None:
    client = make_client(ByLink(debug=True))
    client.post("/greet", data={"name": "Ann"})
    client.post("/tell")
    for _ in range(2):
        client.get("/form")  # its secret is stored in the session
    answers = [client.get(path).text for path in ("/shown", "/shown", "/read", "/logout")]
    assert answers == ["hello", "None", "Ann", "bye"]
    assert warnings_of_get(caplog) == []


def test_debug_does_not_warn_about_a_hook_s_session_change_without_a_handler(
    make_client: MakeClient, caplog: pytest.LogCaptureFixture
) -> None:
    class Remembers(HttpMiddleware):
        def before_request(self, request: Any) -> None:
            request.session["path"] = request.path

    app = ByLink(debug=True)
    app.middlewares.append(Remembers())
    client = make_client(app)
    assert client.get("/nowhere").status_code == 404
    assert warnings_of_get(caplog) == []
    assert client.get("/read").text == "None"
    # the flow can't tell a hook's change from the handler's
    assert len(warnings_of_get(caplog)) == 1


def test_without_debug_a_change_on_get_causes_no_warning(
    make_client: MakeClient, caplog: pytest.LogCaptureFixture
) -> None:
    client = make_client(ByLink())
    client.get("/greet?name=Ann")
    assert client.get("/read").text == "Ann"
    assert warnings_of_get(caplog) == []


def test_an_unavailable_backend_gets_a_503_even_during_an_error_response(
    make_client: MakeClient,
) -> None:
    class Failing(App):
        def index(self) -> None:
            self.request.session["tries"] = 1
            raise HTTPError(410)

    assert make_client(Failing(Down("save"))).get("/").status_code == 503


@pytest.mark.parametrize("backend", SHARED)
def test_a_failed_request_s_changes_inside_a_value_are_discarded(
    make_client: MakeClient, backend: Any
) -> None:
    def fails() -> None:
        raise ValueError("the handler fails")

    app = Cart(backend())
    app._meanwhile = fails
    client = make_client(app, raise_app_exceptions=False)
    client.get("/open")
    assert client.get("/add").status_code == 500
    assert client.get("/look").json() == {"cart": {"items": ["a"]}}
