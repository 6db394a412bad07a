"""Routing by host: ``App(host="api.example.org")``."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from micropie import (
    App,
    InMemorySessionBackend,
    SetupError,
    WebSocket,
    dual,
    get,
    request,
    requires,
)
from micropie._core.http.addresses import HostTable
from micropie.cli.routes import public_routes
from micropie.middleware import ProxyHeaders, SecurityDefaults, TrustedHosts, proxy_headers
from micropie.sessions import SQLiteSessionBackend
from micropie.testing import TestClient, WebSocketRefused
from tests.support.clients import MakeClient
from tests.support.debugging import COOKIES


class Part(App):
    """Says by which route it was reached."""

    def index(self) -> str:
        return f"{type(self).__name__} index"

    def show(self, number: int = 0) -> str:
        return f"{type(self).__name__} {number}"

    @get("/things/<number:int>")
    def thing(self, number: int) -> str:
        return f"{type(self).__name__} thing {number} by {self.request.route.pattern}"  # type: ignore[union-attr]

    def link(self, name: str) -> Any:
        try:
            return [self.url_for(name), self.request.url_for(name), self.absolute_url_for(name)]
        except LookupError as error:
            return 404, str(error)

    async def ws_talk(self, ws: WebSocket) -> None:
        await ws.accept()
        await ws.send_text(f"{type(self).__name__} {self.url_for('ws_talk')}")


class Root(Part):
    def only_here(self) -> str:
        return "only here"


class Api(Part): ...


class Tenants(Part): ...


class Deep(Part): ...


def wsgi(environ: Any, start_response: Any) -> list[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [f"{environ['SCRIPT_NAME']}|{environ['PATH_INFO']}".encode()]


def site(**settings: Any) -> Any:
    root: Any = Root(**settings)
    root.api = Api(host=["api.example.org", "api.example.net"])
    root.tenants = Tenants(host="*.example.org")
    root.api.deep = Deep()
    root.part = Part()
    return root


def ask(client: TestClient, url: str) -> str:
    """The text of ``//host/path``, or the status."""
    host, _, path = url.removeprefix("//").partition("/")
    answer = client.get(f"/{path}", headers={"Host": host})
    return answer.text if answer.status_code == 200 else str(answer.status_code)


ANSWERS = {
    "//api.example.org/": "Api index",
    "//API.example.org./show/3": "Api 3",
    "//api.example.org:8000/show?number=4": "Api 4",
    "//api.example.org/things/5": "Api thing 5 by //api.example.org/things/<number:int>",
    "//api.example.net/show/3": "Api 3",
    "//api.example.org/deep/show/1": "Deep 1",
    "//api.example.org/deep": "Deep index",
    "//api.example.org/api/show": "404",
    "//api.example.org/only_here": "404",
    "//one.example.org/show/1": "Tenants 1",
    "//a.b.example.org/": "Tenants index",
    "//example.org/show/2": "Root 2",
    "//xexample.org/only_here": "only here",
    "//127.0.0.1:80/": "Root index",
    "//[::1]:80/show/6": "Root 6",
    "//example.org/api/show": "404",
    "//example.org/deep/show": "404",
    "//example.org/part/show/7": "Part 7",
}


def test_the_host_chooses_the_application(make_client: MakeClient) -> None:
    client = make_client(site())
    assert {url: ask(client, url) for url in ANSWERS} == ANSWERS


def test_a_malformed_host_gets_a_400(connect: MakeClient, world: str) -> None:
    root: Any = site()
    root.error(400)(lambda error: f"of {type(root).__name__}: {error}")
    client = connect(root, world, validate=False, denial_response=True)
    sentence = "of Root: The Host header must be one name or address, with or without a port."
    upgrades = {"Host": "api.example.org,evil", "Upgrade": "websocket"}
    for path in ("/show/1", "/missing", "/talk"):
        answer = client.get(path, headers=upgrades)
        assert (answer.status_code, answer.text) == (400, sentence)
    found = client.get("/show", headers=[("Host", "testserver"), *[("x", "y")] * 1001]).status_code
    assert found in (200, 431)
    if world != "wsgi":
        with (
            pytest.raises(WebSocketRefused) as refused,
            client.websocket("/talk", headers={"Host": "a b"}),
        ):
            raise AssertionError
        assert (refused.value.status, b"Host header" in refused.value.body) == (400, True)


def test_an_outermost_application_with_a_host_only_handles_that_host(
    make_client: MakeClient,
) -> None:
    root = site(host="example.org")
    root.error(404)(lambda: (404, "nothing here"))
    client = make_client(root)
    assert ask(client, "//example.org/show/1") == "Root 1"
    assert ask(client, "//example.org/part/show/1") == "Part 1"
    assert ask(client, "//api.example.org/show/1") == "Api 1"
    assert ask(client, "//other.test/show/1") == "404"
    assert client.get("/show", headers={"Host": "other.test"}).text == "nothing here"
    assert root.url_for("show", 1) == "/show/1"
    assert root.part.url_for("show", 1) == "/part/show/1"


def test_an_inner_application_at_any_depth_may_have_a_host(make_client: MakeClient) -> None:
    """As the attribute of a class, inside an application below a path, on another host, or
    mounted.
    """

    class WithAttribute(App):
        api = Api(host="api.test")

    root: Any = WithAttribute()
    root.inner = Part()
    root.inner.deep = Deep(host="deep.test")
    root.api.tenants = Tenants(host="*.api.test")
    mounted: Any = Part()
    mounted.own = Root(host="own.test")
    root.mount("/mounted/here", mounted)
    client = make_client(root)
    hosts = {"api.test": "Api", "deep.test": "Deep", "x.api.test": "Tenants", "own.test": "Root"}
    found = {host: ask(client, f"//{host}/show/1") for host in hosts}
    assert found == {h: f"{name} 1" for h, name in hosts.items()}
    assert [
        ask(client, f"//test{path}") for path in ("/api/show", "/inner/deep/show", "/own/show")
    ] == ["404"] * 3
    assert ask(client, "//test/mounted/here/show/1") == "Part 1"
    assert ask(client, "//own.test/mounted/here/show/1") == "404"


def test_mounts_work_on_a_host(make_client: MakeClient) -> None:
    root: Any = App()
    root.old = App(host="old.test")
    root.old.mount("/", wsgi)
    root.old.get("/new")(lambda: "new")
    root.api = Api(host="api.test")
    root.api.mount("/v1", wsgi)
    root.api.mount("/shared", Deep())
    root.api.mount("/alone", Part(), isolated=True)
    client = make_client(root)
    assert ask(client, "//old.test/new") == "new"
    assert ask(client, "//old.test/a/b") == "|/a/b"
    assert ask(client, "//api.test/v1/a") == "/v1|/a"
    assert ask(client, "//api.test/shared/show/1") == "Deep 1"
    assert ask(client, "//api.test/alone/show/1") == "Part 1"
    assert [ask(client, f"//test/{path}/show") for path in ("v1", "shared", "alone")] == ["404"] * 3
    assert root.api.url_for("shared.show", 1) == "/shared/show/1"


def test_an_isolated_application_has_its_own_hosts(make_client: MakeClient) -> None:
    root = App()
    root.mount("/alone", site(), isolated=True)
    client = make_client(root)
    assert ask(client, "//api.example.org/alone/show/1") == "Api 1"
    assert ask(client, "//test/alone/show/1") == "Root 1"


@pytest.mark.parametrize("world", ["asyncio", "trio"])
def test_websockets_are_routed_by_host(make_client: MakeClient) -> None:
    client = make_client(site(host="example.org"))
    for host, name in {
        "api.example.org": "Api",
        "x.example.org": "Tenants",
        "example.org": "Root",
    }.items():
        with client.websocket("/talk", headers={"Host": host}) as ws:
            assert ws.receive_text() == f"{name} /talk"
    with client.websocket("/deep/talk", headers={"Host": "api.example.org"}) as ws:
        assert ws.receive_text() == "Deep /deep/talk"
    for host, path in {
        "api.example.org": "/api/talk",
        "example.org": "/deep/talk",
        "other.test": "/talk",
    }.items():
        with pytest.raises(WebSocketRefused), client.websocket(path, headers={"Host": host}):
            raise AssertionError("let in")


def test_a_plain_request_to_a_websocket_path_gets_a_426(make_client: MakeClient) -> None:
    headers = {"Host": "api.example.org", "Upgrade": "websocket"}
    assert make_client(site()).get("/talk", headers=headers).status_code == 426


def test_outer_settings_and_middleware_apply_on_an_inner_host(make_client: MakeClient) -> None:
    root = site(expose="explicit", errors="json")
    root.middlewares.append(TrustedHosts("api.example.org", "example.org"))
    root.api._micropie.settings["expose"] = "public"
    root.error(KeyError)(lambda: (410, "gone"))

    def fails() -> None:
        raise KeyError("x")

    def visits() -> str:
        session = root.request.session
        session["n"] = session.get("n", 0) + 1
        return str(session["n"])

    root.api.get("/fails")(fails)
    root.api.get("/visits")(visits)
    requires(lambda request: "key" in request.query)(root.tenants)
    client = make_client(root)
    assert ask(client, "//api.example.org/show/1") == "Api 1"
    assert ask(client, "//example.org/show/1") == "404"
    assert ask(client, "//one.example.org/things/1?key") == "400"
    assert client.get("/fails", headers={"Host": "api.example.org"}).status_code == 410
    assert [ask(client, "//api.example.org/visits") for _ in range(2)] == ["1", "2"]
    answer = client.get("/nowhere", headers={"Host": "api.example.org"})
    assert answer.headers["content-type"] == "application/problem+json"


def test_checks_of_an_application_apply_to_all_paths_of_its_host(make_client: MakeClient) -> None:
    root = site()
    requires(lambda request: "key" in request.query)(root.tenants)
    client = make_client(root)
    found = [
        ask(client, f"//x.example.org/{path}")
        for path in ("show/1", "nowhere", "show/1?key", "nowhere?key")
    ]
    assert found == ["403", "403", "Tenants 1", "404"]
    assert ask(client, "//api.example.org/show/1") == "Api 1"


def test_a_trusted_proxy_determines_the_host(
    make_client: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = Mock(side_effect=proxy_headers._x_forwarded)
    monkeypatch.setattr(proxy_headers, "_x_forwarded", read)
    headers = {
        "Host": "inside",
        "X-Forwarded-For": "192.0.2.7",
        "X-Forwarded-Host": "api.example.org",
    }
    for takes_host, name in ((True, "Api"), (False, "Root")):
        root = site()
        root.middlewares.append(ProxyHeaders(trusted=["127.0.0.1"], host=takes_host))
        client = make_client(root)
        assert client.get("/show/1", headers=headers).text == f"{name} 1"
        assert client.get("/", headers=headers).text == f"{name} index"
        assert client.get("/missing", headers=headers).status_code == 404
    assert read.call_count == 6  # once for each request


# -- links -----------------------------------------------------------------------------------------


def links(client: TestClient, url: str) -> Any:
    host, _, path = url.removeprefix("//").partition("/")
    answer = client.get(f"/{path}", headers={"Host": host})
    return answer.json() if answer.status_code == 200 else answer.text


@pytest.mark.parametrize("root_path", ["", "/p"])
def test_links_within_one_host_are_paths(make_client: MakeClient, root_path: str) -> None:
    client = make_client(site(), root_path=root_path)
    expected = {
        "//api.example.org:8000/link/show": ["/show", "http://api.example.org:8000{}/show"],
        # the first host of the list
        "//api.example.net/link/show": ["/show", "http://api.example.org{}/show"],
        "//api.example.org/link/deep.index": ["/deep", "http://api.example.org{}/deep"],
        "//api.example.org/link/~api.index": ["/", "http://api.example.org{}/"],
        "//one.example.org:8000/link/show": ["/show", "http://one.example.org:8000{}/show"],
        "//other.test/link/part.show": ["/part/show", "http://other.test{}/part/show"],
        "//[::1]:1/link/show": ["/show", "http://[::1]:1{}/show"],
    }
    for url, (path, absolute) in expected.items():
        found = links(client, url.replace("/link/~", "/link?name=/"))
        assert found == [root_path + path, root_path + path, absolute.format(root_path)], url


def test_links_to_another_host_are_absolute(make_client: MakeClient) -> None:
    client = make_client(site(), root_path="/p")
    url = "http://api.example.org:8000/p/show"
    assert links(client, "//example.org:8000/link/api.show") == [url] * 3
    assert links(client, "//one.example.org:8000/link?name=/api.show") == [url] * 3


@pytest.mark.parametrize(
    "url",
    [
        "//api.example.org/link/only_here",
        "//one.example.org/link/only_here",
        "//example.org/link/tenants.show",
    ],
)
def test_an_unknown_host_raises_an_error_in_links(make_client: MakeClient, url: str) -> None:
    name = url.rpartition("/")[2]
    answer = links(make_client(site()), url)
    advice = "App(host=...) without *" if "tenants" in name else "App(base_url=...)"
    assert answer == (
        f"the URL of {name!r} needs a scheme and host, but they are unknown at this call: "
        f"write {advice}"
    )


def test_the_setting_provides_an_unknown_host(make_client: MakeClient) -> None:
    root = site(base_url="https://example.org:8443/p")
    client = make_client(root)
    here = "https://example.org:8443/p/only_here"
    assert links(client, "//api.example.org/link/only_here") == [here] * 3
    api = "https://api.example.org:8443/p/show"
    assert links(client, "//api.example.org/link/show") == ["/show", "/show", api]
    assert links(client, "//one.example.org/link/show")[2] == "http://one.example.org/show"
    seen = (root.api.url_for("show"), root.url_for("api.show"), root.absolute_url_for("api.show"))
    assert seen == ("/show", api, api)
    with pytest.raises(LookupError, match=r"tenants\.show"):
        root.absolute_url_for("tenants.show")


def test_without_a_request_or_the_setting_a_link_has_no_scheme() -> None:
    root = site()
    assert (root.api.url_for("show"), root.url_for("show")) == ("/show", "/show")
    with pytest.raises(LookupError, match=r"api\.show"):
        root.url_for("api.show")


def test_files_are_served_on_a_host(make_client: MakeClient, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("text")
    root = site()
    root.api.static("/static", tmp_path)
    url = root.api.static_url("a.txt")
    assert url.startswith("/static/a.txt?v=")
    assert ask(make_client(root), f"//api.example.org{url}") == "text"


# -- mistakes --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wrong",
    [
        "",
        "http://a.test",
        "a.test:80",
        "a.test/x",
        "*",
        "a.*.test",
        "é.test",
        [],
        ["a.test", ""],
        1,
        [None],
        "::x",
    ],
)
def test_an_invalid_host_raises_an_error(wrong: Any) -> None:
    with pytest.raises(SetupError, match=r"App\(host=...\) takes a host without scheme and port, "):
        App(host=wrong)


def test_two_applications_on_one_host_raise_an_error() -> None:
    root = site()
    root.other = Deep(host=["other.test", "API.example.org."])
    with pytest.raises(SetupError, match=r"two applications have the host 'api.example.org'"):
        root._micropie.compiled()


@pytest.mark.parametrize("options", [{}, {"isolated": True}])
def test_an_application_with_a_host_cannot_be_mounted(options: dict[str, Any]) -> None:
    with pytest.raises(
        SetupError,
        match=r"Api has its own host: .*, assign it to an attribute, as in app.api = Api\(...\)$",
    ):
        App().mount("/api", Api(host="api.test"), **options)


# -- what reads the tree ---------------------------------------------------------------------------


def test_routes_are_listed_with_their_hosts() -> None:
    listed = {(one.path, one.name, one.methods) for one in public_routes(site(), False)}
    by_name = "GET,POST,PUT,PATCH,DELETE"
    assert {
        ("//api.example.org/show", "api.show", by_name),
        ("//api.example.org/talk", "api.ws_talk", "WS"),
        ("//api.example.org/deep/show", "api.deep.show", by_name),
        ("//*.example.org/things/<number:int>", "tenants.thing", "GET"),
        ("/part/show", "part.show", by_name),
    } <= listed


def test_a_document_only_has_the_routes_of_its_host(make_client: MakeClient) -> None:
    root = site()
    root.api.docs = App(docs=True)
    client = make_client(root)
    assert "/part/show" in root.openapi()["paths"]
    assert not any("/deep" in path for path in root.openapi()["paths"])
    described = root.api.openapi()
    assert (
        {"/show", "/deep/show", "/things/{number}"} <= described["paths"].keys(),
        "servers" in described,
    ) == (
        True,
        False,
    )
    page = client.get("/docs/docs", headers={"Host": "api.example.org"}).text
    assert "/docs/openapi.json" in page
    assert "example.org" not in page


def test_session_ids_may_contain_the_host(make_client: MakeClient, tmp_path: Path) -> None:
    """Also with a backend that is asked before the handler."""

    class Counts(Tenants):
        def count(self) -> str:
            session = self.request.session
            session["n"] = session.get("n", 0) + 1
            return str(session["n"])

    root: Any = App(SQLiteSessionBackend(tmp_path / "sessions.db"))
    ids = (f"{number}" for number in range(9))
    root.tenants = Counts(
        host="*.test",
        session_id_factory=lambda: f"{request.host}:{next(ids)}",
        session_id_validator=lambda value: value.startswith(f"{request.host}:"),
    )
    client = make_client(root)
    asked = [
        ("a.test", "a.test:0"),
        ("a.test", "a.test:0"),
        ("b.test", "a.test:0"),
        ("a.test", "a.test:0"),
    ]
    answers = [
        client.get("/count", headers={"Host": host, "Cookie": f"session_id={kept}"})
        for host, kept in asked
    ]
    assert [answer.text for answer in answers] == ["1", "2", "1", "3"]


def test_a_session_on_its_own_host_needs_no_separate_cookie_name(make_client: MakeClient) -> None:
    """Its cookie can't replace that of the application around it, whose host is another one."""
    root = site(security=SecurityDefaults("*.example.org", "example.org"))
    root.api.session_backend = InMemorySessionBackend()
    root.api.get("/set")(lambda: root.request.session.update(a=1) or "")
    client = make_client(root, base_url="https://api.example.org")
    assert client.get("/set").headers["set-cookie"].startswith("__Host-session_id=")


def test_any_wsgi_or_asgi_application_can_have_a_host(make_client: MakeClient) -> None:
    root: Any = App()
    root.get("/")(lambda: "root")
    root.old = App(host="old.test")
    root.old.mount("/", dual(wsgi), kind="wsgi")
    assert ask(make_client(root), "//old.test/a") == "|/a"


def test_the_debug_page_of_a_404_lists_the_hosts(make_client: MakeClient) -> None:
    root = site(debug=True)
    root.local = Part(host="localhost")
    client = make_client(root, cookies=COOKIES)
    answer = client.get("/thing/x", headers={"Host": "localhost", "Accept": "text/html"})
    assert (answer.status_code, "//localhost/things" in answer.text) == (404, True)


def test_a_table_of_hosts_prefers_the_longest_name() -> None:
    table = HostTable([("*.test", 1), ("*.a.test", 2), ("x.a.test", 3), ("[::1]", 4)])
    hosts = [
        "x.test", "x.a.test", "y.a.test:1", "b.y.a.test.", "a.test", "test", "[0::1]:80", "[::2]",
        ".test",
    ]  # fmt: skip
    assert [table.find(host) for host in hosts] == [1, 3, 2, 2, 1, None, 4, None, None]
