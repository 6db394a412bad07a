"""What a handler sees of its request: the same values, byte for byte, under WSGI and ASGI."""

from __future__ import annotations

import json
from typing import Any

import pytest

import micropie
from micropie import App, Server
from micropie._core.http.exchange import Exchange
from micropie._core.http.state import State
from micropie.testing import make_request
from tests.asgi.calls import Call, get, http_scope, piece, run
from tests.support.clients import MakeClient
from tests.support.pairs import paired
from tests.wsgi.calls import get as wsgi_get

WORLDS = ("wsgi", "asyncio", "trio")


class Echo(App):
    def default(self, *segments: str, **values: Any) -> Any:
        request = self.request
        return {
            "method": request.method,
            "path": request.path,
            "path_params": list(request.path_params),
            "query_string": request.query_string,
            "query_params": request.query_params,
            "body_params": request.body_params,
            "json": request.get_json,
            "cookies": request.cookies,
            "client": request.client,
            "scheme": request.scheme,
            "host": request.host,
            "url": request.url,
            "root_path": request.root_path,
            "content_type": request.content_type,
            "content_length": request.content_length,
            "files": {name: file.read().decode() for name, file in request.files.items()},
            "headers": dict(request.headers),
            "segments": segments,
        }


# method, target, what else httpx is told
REQUESTS: list[tuple[str, bytes, dict[str, Any]]] = [
    ("GET", b"/", {}),
    ("GET", b"/plain/path", {}),
    ("GET", b"/trailing/", {}),
    ("GET", b"/%C3%A9/a%20b?q=%C3%A9+x&q=2&empty=&flag", {}),
    ("GET", b"/a%2Fb/c%3Fd?x=1%262", {}),
    ("GET", b"/100%25?x=100%25", {}),
    ("GET", b"/a;b=c/@:!$&'()*+,=~", {}),
    ("GET", b"/x?raw=a=b&&=v", {}),
    ("HEAD", b"/x", {}),
    ("DELETE", b"/x?a=1", {}),
    ("POST", b"/x?a=q", {"data": {"a": ["1", "2"], "é": "ü"}}),
    ("PUT", b"/x", {"json": {"a": [1, None], "b": {"c": 1.5}}}),
    ("PATCH", b"/x", {"json": [1, 2]}),
    ("POST", b"/x", {"content": b"raw", "headers": {"Content-Type": 'Text/Plain; charset="x"'}}),
    ("POST", b"/x", {"files": {"f": ("name.txt", b"data")}, "data": {"a": "1"}, "headers": {}}),
    ("GET", b"/x", {"headers": {"Host": "EXAMPLE.org:8080", "Cookie": "a=1; b=2"}}),
    ("GET", b"/x", {"headers": {"Host": "[::1]:8000"}}),
]


@pytest.mark.parametrize(("method", "target", "options"), REQUESTS)
def test_every_request_attribute_is_the_same_under_every_protocol(
    connect: MakeClient, method: str, target: bytes, options: dict[str, Any]
) -> None:
    seen = []
    for world in WORLDS:
        client = connect(Echo(), world)
        more = dict(options)
        if "files" in more:  # the boundary is httpx's, and another each time
            more["headers"] = {"Content-Type": "multipart/form-data; boundary=b"}
        answer = client.request(method, "/", extensions={"target": target}, **more)
        assert answer.status_code == 200
        seen.append(answer.json() if method != "HEAD" else answer.headers.multi_items())
    assert seen[0] == seen[1] == seen[2]


def test_request_attributes_have_the_right_values(make_client: MakeClient) -> None:
    client = make_client(Echo(), base_url="https://example.org")
    seen = client.get("/x/%C3%A9%2Fb?q=%C3%A9+x&q=2&flag", headers={"Cookie": "a=1"}).json()
    del seen["headers"]
    assert seen == {
        "method": "GET",
        "path": "/x/é/b",
        "path_params": ["x", "é/b"],
        "query_string": "q=%C3%A9+x&q=2&flag",
        "query_params": {"q": ["é x", "2"], "flag": [""]},
        "body_params": {},
        "json": None,
        "cookies": {"a": "1"},
        "client": ["127.0.0.1", 50000],
        "scheme": "https",
        "host": "example.org",
        "url": "https://example.org/x/%C3%A9%2Fb?q=%C3%A9+x&q=2&flag",
        "root_path": "",
        "content_type": "",
        "content_length": None,
        "files": {},
        "segments": ["x", "é/b"],
    }


def test_a_mount_is_not_part_of_the_path(make_client: MakeClient) -> None:
    seen = make_client(Echo(), root_path="/mö/unt").get("/x?y=1").json()
    assert (seen["path"], seen["root_path"], seen["segments"]) == ("/x", "/mö/unt", ["x"])
    assert seen["url"] == "http://testserver/m%C3%B6/unt/x?y=1"


def test_a_server_may_not_know_the_client(make_client: MakeClient) -> None:
    assert make_client(Echo(), client=None).get("/").json()["client"] is None


class Asking(App):
    def query(self) -> Any:
        query = self.request.query
        return [query("a"), query("none"), query("none", 5), query("empty", 5)]

    def form(self) -> Any:
        request = self.request
        return [request.form("a"), request.form("none"), request.form("none", 5)]

    def json(self) -> Any:
        return [self.request.json()]

    def names(self) -> Any:
        request = self.request
        return [request.json("a"), request.json("none"), request.json("none", 5), request.is_json]

    def got(self) -> Any:
        return [self.request.get_json, self.request.is_json]

    def query_params(self) -> Any:
        return self.request.query_params

    async def asynchronous(self) -> Any:
        return [self.request.form("a"), self.request.get_json]


def test_request_query_returns_values_and_defaults(make_client: MakeClient) -> None:
    assert make_client(Asking()).get("/query?a=1&a=2&empty=").json() == ["1", None, 5, ""]


def test_request_form_returns_values_and_defaults(make_client: MakeClient) -> None:
    client = make_client(Asking())
    assert client.post("/form", data={"a": ["1", "2"]}).json() == ["1", None, 5]
    assert client.post("/form", files={"f": b"x"}, data={"a": "1"}).json() == ["1", None, 5]
    assert client.post("/form", json={"a": 1}).json() == [1, None, 5]
    assert client.get("/form").json() == [None, None, 5]


def test_request_json_returns_documents_and_values(make_client: MakeClient) -> None:
    client = make_client(Asking())
    for document in ({"a": 1}, [1], "x", None, 5, False, {}):
        answer = client.post(
            "/json", content=json.dumps(document), headers={"Content-Type": "application/json"}
        )
        assert answer.json() == [document]
    assert client.post("/names", json={"a": [1], "b": 2}).json() == [[1], None, 5, True]
    assert client.post("/names", json=[1]).json() == [None, None, 5, True]
    assert client.post("/names", data={"a": 1}).json() == [None, None, 5, False]


def test_get_json_returns_the_document(make_client: MakeClient) -> None:
    client = make_client(Asking())
    assert client.post("/got", json={"a": 1}).json() == [{"a": 1}, True]
    assert client.post("/got").json() == [None, False]
    text = {"Content-Type": "text/plain; application/json"}
    assert client.post("/got", content=b'{"a":1}', headers=text).json() == [None, False]
    assert client.post("/got", headers={"Content-Type": "application/json"}).json() == [None, True]


def test_async_handlers_can_use_the_same_sync_calls(make_client: MakeClient) -> None:
    client = make_client(Asking())
    assert client.post("/asynchronous", data={"a": "1"}).json() == ["1", None]
    assert client.post("/asynchronous", json={"a": 1}).json() == [1, {"a": 1}]


@pytest.mark.parametrize(
    "types", [("text/plain", "application/json"), ("application/json", "text/plain")]
)
def test_R4_R24_two_content_types_count_as_none(
    make_client: MakeClient, types: tuple[str, str]
) -> None:
    """One reader could take the first, another one the last."""
    headers = [("Content-Type", name) for name in types]
    found = make_client(Asking()).post("/got", content=b'{"a":1}', headers=headers).json()
    assert found == [None, False]


# -- self.request, micropie.request ----------------------------------------------------------------


def helper() -> str:
    return str(micropie.request.query("id"))


def test_helper_functions_see_the_request(make_client: MakeClient) -> None:
    class Root(App):
        def index(self) -> Any:
            micropie.request.own = "mark"  # type: ignore[attr-defined]
            return [helper(), self.request.own, repr(micropie.request)]  # type: ignore[attr-defined]

    assert make_client(Root()).get("/?id=5").json() == ["5", "mark", "<current <Request GET '/'>>"]


def test_there_is_no_request_outside_handlers() -> None:
    for name in ("request", "response"):
        with pytest.raises(LookupError, match="no current request"):
            getattr(App(), name)
    with pytest.raises(LookupError, match="no current request"):
        micropie.request.path  # noqa: B018
    assert repr(micropie.request) == "<current None>"


def test_old_names_of_request_attributes_work(make_client: MakeClient) -> None:
    class Root(Server):
        def index(self, *segments: str) -> Any:
            self.session["n"] = self.session.get("n", 0) + 1
            sent = [self.query_params, self.body_params, [*self.path_params], [*self.files]]
            return [self.session, *sent]

        def replace(self) -> Any:
            self.session = {"n": 10}
            return self.redirect("/")

    client = make_client(Root())
    answer = client.post("/x?a=1", data={"b": "2"}, files={"f": b"x"})
    assert answer.json() == [{"n": 1}, {"a": ["1"]}, {"b": ["2"]}, ["x"], ["f"]]
    assert client.get("/replace").headers["location"] == "/"
    assert client.get("/").json()[0] == {"n": 11}


# -- scope, environ, state -------------------------------------------------------------------------


SHOWN = "type method scheme path raw_path query_string root_path client server"


class Protocol(App):
    def index(self) -> Any:
        scope = self.request.scope
        shown = {key: scope[key] for key in SHOWN.split()}
        return repr([*{**shown, "client": tuple(scope["client"])}.values()])

    def environ(self) -> Any:
        environ = self.request.environ
        return environ["PATH_INFO"] if environ else None

    def headers(self) -> Any:
        return repr(sorted(pair for pair in self.request.scope["headers"] if pair[0] == b"x-one"))


def test_a_request_has_a_scope_under_every_protocol(connect: MakeClient) -> None:
    for world in WORLDS:
        text = connect(Protocol(), world, root_path="/m").get("/?a=%C3%A9").text
        assert text.replace("[", "(").replace("]", ")") == (
            "('http', 'GET', 'http', '/m/', b'/m/', b'a=%C3%A9', '/m', ('127.0.0.1', 50000), ('testserver', 80))"
        )


def test_headers_in_the_scope_are_bytes(make_client: MakeClient) -> None:
    answer = make_client(Protocol()).get("/headers", headers=[(b"X-One", b"\xff")])
    assert answer.text == r"[(b'x-one', b'\xff')]"


def test_the_environ_is_the_server_s(connect: MakeClient) -> None:
    assert connect(Protocol(), "wsgi").get("/environ").text == "/environ"
    assert connect(Protocol(), "asyncio").get("/environ").text == ""


def test_request_state_belongs_to_one_request(make_client: MakeClient) -> None:
    class Root(App):
        def index(self) -> Any:
            state = self.request.state
            seen = "user" in state
            state.user = "me"
            state["other"] = 1
            return [seen, state.user, state["user"], state.other, hasattr(state, "none")]

    client = make_client(Root())
    for _ in range(2):
        assert client.get("/").json() == [False, "me", "me", 1, False]


def test_request_state_starts_with_the_server_s_state(backend: str) -> None:
    class Root(App):
        def index(self) -> Any:
            self.request.state.count += 1
            return self.request.state.count

    app, state = Root(), {"count": 1}

    async def twice() -> list[bytes]:
        return [(await get(app, state=state)).body for _ in range(2)]

    assert run(backend, twice) == [b"2", b"2"]
    assert state == {"count": 1}


def test_a_state_s_repr_describes_it() -> None:
    state = State()
    state["a"] = 1
    assert repr(state) == "State({'a': 1})"
    with pytest.raises(AttributeError, match="'b'"):
        state.b  # noqa: B018
    with pytest.raises(KeyError):
        state["b"]


def test_iterating_over_a_state_yields_its_names_and_those_around_it() -> None:
    outer, state = State(), State()
    outer.pool, outer.name = 5, "x"
    state._find = lambda: outer
    state.name, state["count"] = "y", 1
    assert [*state] == ["name", "count", "pool"]
    assert len(state) == 3
    assert repr(state) == "State({'name': 'y', 'count': 1, 'pool': 5})"
    del state["name"]
    assert ([*state], vars(state)) == (["count", "pool", "name"], {"count": 1})
    with pytest.raises(KeyError):
        del state["name"]


def test_a_request_s_repr_describes_it(make_client: MakeClient) -> None:
    class Root(App):
        def default(self, *_: str) -> Any:
            return repr(self.request)

    assert make_client(Root()).get("/a%0Ab").text == r"<Request GET '/a\nb'>"


# -- R11, R13: paths that are none -----------------------------------------------------------------

BAD_PATHS = [
    b"/%ff", b"/\xff", b"/%00", b"/a%00b", b"/%ed%a0%80", b"/%c0%af", b"/%80", b"/%f5%80%80%80", b"/x/%ff/",
]  # fmt: skip


@pytest.mark.parametrize(
    ("target", "method"), paired(BAD_PATHS, ["GET", "HEAD", "POST", "OPTIONS"])
)
def test_R11_a_path_that_cannot_be_decoded_gets_a_400(
    make_client: MakeClient, target: bytes, method: str
) -> None:
    answer = make_client(Echo(), validate=False).request(method, "/", extensions={"target": target})
    seen = (answer.status_code, answer.headers["content-type"])
    assert seen == (400, "text/plain; charset=utf-8")
    assert answer.text.count(".") == (0 if method == "HEAD" else 1)
    assert b"\xff" not in answer.content


BAD_QUERIES = [b"a=%ff", b"%ff=a", b"a=%00", b"a=%ed%a0%80", b"a=\xff", b"\x00"]


@pytest.mark.parametrize("query", BAD_QUERIES)
def test_R11_a_query_that_cannot_be_decoded_gets_400(make_client: MakeClient, query: bytes) -> None:
    client = make_client(Asking(), validate=False)
    for path in (b"/query_params", b"/query"):
        answer = client.get("/", extensions={"target": path + b"?" + query})
        seen = (answer.status_code, answer.headers["content-type"])
        assert seen == (400, "text/plain; charset=utf-8")


@pytest.mark.parametrize("path", ["@google.com", "google.com", "http:x", "x/y", "\\x", "*"])
def test_R13_a_target_that_is_not_a_path_gets_a_400(backend: str, path: str) -> None:
    call = run(backend, lambda: get(Echo(), "/", raw_path=path.encode(), path=path))
    assert call.status == 400
    assert b"google" not in call.body


@pytest.mark.parametrize("path", ["@google.com", "google.com", "x/y", "*"])
def test_R13_a_target_that_is_not_a_path_gets_a_400_under_wsgi(path: str) -> None:
    assert wsgi_get(Echo(), path)[0] == 400


def test_R13_the_url_never_takes_its_host_from_the_target(backend: str) -> None:
    class Root(App):
        def index(self) -> Any:
            raise AssertionError

    app = Root()
    app.middlewares.append(Urls())
    call = run(backend, lambda: get(app, "/", raw_path=b"@google.com", path="@google.com"))
    assert call.body == b"http://testserver/@google.com" or call.status == 400


class Urls(micropie.HttpMiddleware):
    def before_request(self, request: Any) -> Any:
        return {"body": request.url}


def test_R13_options_with_an_asterisk_is_not_a_server_error(backend: str) -> None:
    call = run(backend, lambda: get(Echo(), "*", "OPTIONS"))
    assert call.status < 500


def test_an_absolute_target_under_wsgi_is_reduced_to_its_path() -> None:
    app = Echo()
    for target in ("http://testserver/a%2Fb?q=1", "/a%2Fb?q=1"):
        body = wsgi_get(app, "/a/b", RAW_URI=target)[1]
        assert b'"segments":["a/b"]' in body
    # A middleware has changed PATH_INFO since: what came says nothing any more.
    assert b'"segments":["other"]' in wsgi_get(app, "/other", RAW_URI="/a%2Fb")[1]
    assert b'"segments":["a","b"]' in wsgi_get(app, "/a/b", REQUEST_URI="http://testserver")[1]


def test_a_server_may_omit_the_raw_path(backend: str) -> None:
    scope = {"raw_path": None, "path": "/a%/é"}
    assert b'"segments":["a%","\xc3\xa9"]' in run(backend, lambda: get(Echo(), "/", **scope)).body


def test_a_server_may_include_or_omit_the_mount_in_the_path(backend: str) -> None:
    async def segments(**scope: Any) -> bytes:
        call = await get(Echo(), "/", root_path="/m", **scope)
        return call.body.partition(b'"segments":')[2]

    assert run(backend, lambda: segments(path="/m/a", raw_path=b"/m/a")) == b'["a"]}'
    assert run(backend, lambda: segments(path="/a", raw_path=b"/a")) == b'["a"]}'
    assert run(backend, lambda: segments(path="/mx", raw_path=b"/mx")) == b'["mx"]}'
    assert run(backend, lambda: segments(path="/m", raw_path=b"/m")) == b"[]}"


def test_a_scope_may_omit_optional_keys(backend: str) -> None:
    scope = http_scope()
    for key in ("client", "server", "root_path", "scheme", "raw_path"):
        scope.pop(key)
    scope["headers"] = []

    async def call() -> bytes:
        wire = Call(piece(b""))
        await Echo()(scope, wire.receive, wire.send)
        return wire.body

    body = run(backend, call)
    assert b'"client":null' in body
    assert b'"url":"http://localhost/"' in body


def test_a_unix_socket_has_no_port(backend: str) -> None:
    call = run(backend, lambda: get(Echo(), headers=[], server=("/run/app.sock", None)))
    assert call.status in (200, 400)


# -- R14: Host -------------------------------------------------------------------------------------

GOOD_HOSTS = {
    "example.org": "example.org",
    "EXAMPLE.org": "example.org",
    "example.org:8080": "example.org:8080",
    "localhost": "localhost",
    "127.0.0.1:80": "127.0.0.1:80",
    "[::1]": "[::1]",
    "[2001:DB8::1]:8443": "[2001:db8::1]:8443",
    "a-b_c.d": "a-b_c.d",
    "xn--e1afmkfd.xn--p1ai": "xn--e1afmkfd.xn--p1ai",
}
BAD_HOSTS = [
    "x/../admin?", "a/b?c", "a@b", "user:pass@host", "[::1", "::1", "[::1]x", "[:::1]", "[]", "evil.com#", "a b",
    "a,b", "a:b", "a:", "a:99999", "a:123456", "a:-1", "a:+80", "a:\u0663", "\xe9.com", "a\\b", "<script>", "a%2fb",
    ":80", "http://a", "a\tb", "'", '"', "[1.2.3.4]", "[::1%25eth0]",
]  # fmt: skip


class Host(App):
    def index(self) -> Any:
        return [self.request.host, self.request.url]

    def path(self) -> Any:
        return self.request.path


@pytest.mark.parametrize("host", GOOD_HOSTS)
def test_R14_a_valid_host_is_normalised(make_client: MakeClient, host: str) -> None:
    seen = make_client(Host()).get("/", headers={"Host": host}).json()
    assert seen == [GOOD_HOSTS[host], f"http://{GOOD_HOSTS[host]}/"]


@pytest.mark.parametrize("host", BAD_HOSTS)
def test_R14_an_invalid_host_gets_a_400_when_it_is_read(make_client: MakeClient, host: str) -> None:
    client = make_client(Host())
    headers = [(b"Host", host.encode())]
    answer = client.get("/", headers=headers)
    assert (answer.status_code, "Host header" in answer.text) == (400, True)
    assert host not in answer.text


@pytest.mark.parametrize("host", BAD_HOSTS)
def test_R14_a_host_never_changes_the_path(make_client: MakeClient, host: str) -> None:
    headers = [(b"Host", host.encode())]
    answer = make_client(Host()).get("/path", headers=headers)
    assert answer.text == "/path" or answer.status_code == 400


def test_R14_two_different_hosts_get_a_400(backend: str) -> None:
    twice = [(b"host", b"a"), (b"host", b"b")]
    assert run(backend, lambda: get(Host(), headers=twice)).status == 400
    found = run(backend, lambda: get(Host(), headers=[(b"host", b"a"), (b"host", b"a")])).status
    assert found == 200


@pytest.mark.parametrize("host", ["a,b", "a, b"])
def test_R14_two_different_hosts_get_a_400_under_wsgi(host: str) -> None:
    assert wsgi_get(Host(), HTTP_HOST=host)[0] == 400


# -- R15: what proxies say -------------------------------------------------------------------------

SPOOFED = {
    "X-Forwarded-For": "6.6.6.6",
    "X-Forwarded-Host": "evil.com",
    "X-Forwarded-Proto": "https",
    "X-Forwarded-Port": "1",
    "X-Forwarded-Prefix": "/evil",
    "X-Real-IP": "6.6.6.6",
    "Forwarded": "for=6.6.6.6;host=evil.com;proto=https",
    "X-Original-URL": "/admin",
    "X-Rewrite-URL": "/admin",
    "X-HTTP-Method-Override": "DELETE",
    "Script-Name": "/evil",
}


def test_R15_proxy_headers_sent_by_a_client_have_no_effect(make_client: MakeClient) -> None:
    client = make_client(Echo())
    honest, spoofed = client.post("/x").json(), client.post("/x", headers=SPOOFED).json()
    for seen in (honest, spoofed):
        del seen["headers"]
    assert honest == spoofed


def test_each_caller_gets_its_own_media_type_parameters(make_client: MakeClient) -> None:
    class Root(App):
        def index(self) -> Any:
            self.request.content_type_parameters["charset"] = "changed"
            return [self.request.content_type, self.request.content_type_parameters]

    answer = make_client(Root()).post(
        "/", content=b"x", headers={"Content-Type": 'Text/Plain; charset="UTF-8"'}
    )
    assert answer.json() == ["text/plain", {"charset": "UTF-8"}]


def test_the_scope_under_wsgi_is_created_once(make_client: MakeClient) -> None:
    class Root(App):
        def index(self) -> Any:
            self.request.scope["own"] = 1
            return self.request.scope["own"]

    assert make_client(Root()).get("/").json() == 1


@pytest.mark.parametrize("key", ["RAW_URI", "REQUEST_URI"])
def test_R13_an_options_target_that_is_not_a_path_gets_a_400_under_wsgi(key: str) -> None:
    assert wsgi_get(Echo(), "", "OPTIONS", **{key: "*"})[0] == 400


def test_R5_a_header_name_with_an_underscore_never_counts_as_one_with_a_dash(
    make_client: MakeClient,
) -> None:
    class Root(App):
        def index(self) -> Any:
            headers = self.request.headers
            spellings = [headers.get("x-note"), headers.get("x_note")]
            return [*spellings, len(headers.get_all("x-id"))]

    sent = {"X_Note": "1", "X-Id": "1", "X_Id": "2"}
    assert make_client(Root()).get("/", headers=sent).json() == [None, None, 1]


def test_R5_a_header_name_with_an_underscore_is_dropped_under_asgi(backend: str) -> None:
    class Root(App):
        def index(self) -> Any:
            return sorted(self.request.headers)

    call = run(backend, lambda: get(Root(), headers=[(b"x_note", b"1"), (b"host", b"a")]))
    assert json.loads(call.body) == ["host"]


@pytest.mark.parametrize("size", [0, 1, 65536, 200_000])
def test_an_upload_s_content_can_be_read_in_turn(make_client: MakeClient, size: int) -> None:
    class Root(App):
        async def index(self, file: Any) -> Any:
            content, sizes = file["content"], []
            while chunk := await content.get():
                sizes.append(len(chunk))
            is_small = max(sizes, default=0) <= 65536
            return [file["filename"], sum(sizes), is_small, await content.get()]

    answer = make_client(Root()).post("/", files={"file": ("a.txt", b"x" * size)})
    assert answer.json() == ["a.txt", size, True, None]


def test_every_attribute_of_an_exchange_is_set_from_the_start() -> None:
    exchange = Exchange()
    unset = {name for name in Exchange.__annotations__ if not hasattr(exchange, name)}
    # The driver, the flow and WebSockets set these.
    by_others = {"answer", "body", "method", "path", "outside", "root_path", "query_string"}
    assert unset == by_others | {"config"}


def test_the_log_reports_a_missing_await_of_json(
    make_client: MakeClient, caplog: pytest.LogCaptureFixture
) -> None:
    class Root(App):
        async def index(self) -> Any:
            return await self.request.json()  # type: ignore[operator]

    assert make_client(Root(debug=True)).post("/", json={}).status_code == 500
    assert (
        "Remove await: only async functions can be awaited, not a def of your own, request.json() or the methods of uploads."
        in caplog.text
    )


def test_a_host_set_by_middleware_is_used() -> None:
    request = make_request()
    request.host = "Shop.example:8000"
    assert request.host == "shop.example:8000"
    with pytest.raises(ValueError, match="'a b' is not a host"):
        request.host = "a b"
