"""The built-in tools: one application, made of the original package and of ours, in each world."""

from __future__ import annotations

import gc
import gzip
import io
import os
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from io import FileIO
from pathlib import Path
from typing import Any

import cherrypy as original
import pytest

from compat.tests.conftest import Serve, page
from compat.tests.releases import check_releases
from micropie._core.files import fingerprints, lookup
from micropie_compat import cherrypy as ours
from micropie_compat.cherrypy.lib import (
    auth_basic,
    auth_digest,
    caching,
    encoding,
    jsontools,
    static,
)
from micropie_compat.cherrypy.toolbox import Toolbox
from micropie_compat.cherrypy.tools import default_toolbox
from micropie_compat.results import Chunks
from tests.support.clients import MakeClient
from tests.support.open_files import open_files
from tests.support.waiting import PATIENCE


def on(tool: str, **options: Any) -> dict[str, Any]:
    """Return the configuration that switches a tool on."""
    return {
        f"tools.{tool}.on": True,
        **{f"tools.{tool}.{name}": value for name, value in options.items()},
    }


# -- conditions, ages ------------------------------------------------------------------------------


@pytest.mark.parametrize("seconds", [1, 1_704_067_200, 1_700_000_000.5])
@pytest.mark.parametrize("is_open", [False, True])
def test_R39_each_release_of_a_file_has_its_own_tag(
    serve_our_page: Serve, tmp_path: Path, seconds: float, is_open: bool
) -> None:
    """A build may give each file of each release the same time, which is then no date."""

    def answer(**values: Any) -> Any:
        if is_open:
            return static.serve_fileobj((tmp_path / "a").open("rb"))
        return static.serve_file(str(tmp_path / "a"))

    check_releases(serve_our_page(answer), tmp_path / "a", seconds)


def test_a_weakened_etag_still_matches(serve_our_page: Serve) -> None:
    client = serve_our_page(lambda **values: "content", **on("etags", autotags=True))
    etag = client.get("/").headers["ETag"]
    assert client.get("/", headers={"If-None-Match": f"W/{etag}"}).status_code == 304


def test_the_expires_tool_sets_ages(cherrypy: Any, serve_page: Serve) -> None:
    def answer(**values: Any) -> str:
        cherrypy.response.headers["ETag"] = '"x"'
        if values:
            cherrypy.response.headers["Expires"] = "set"
        return "content"

    hour = serve_page(answer, **on("expires", secs=timedelta(hours=1))).get("/").headers
    assert hour["Expires"].endswith("GMT")
    assert "Pragma" not in hour
    found = serve_page(lambda **values: "x", **on("expires", secs=60)).get("/").headers
    assert "Expires" not in found
    never = serve_page(answer, **on("expires")).get("/").headers
    assert (never["Pragma"], never["Cache-Control"]) == ("no-cache", "no-cache, must-revalidate")
    assert serve_page(answer, **on("expires", secs=60)).get("/?own=1").headers["Expires"] == "set"
    forced = serve_page(answer, **on("expires", secs=60, force=True)).get("/?own=1").headers
    assert forced["Expires"].endswith("GMT")


def test_http_1_0_gets_no_cache_control(serve_our_page: Serve) -> None:
    def answer(**values: Any) -> str:
        ours.request.protocol = (1, 0)
        return "content"

    headers = serve_our_page(answer, **on("expires", force=True)).get("/").headers
    assert headers["Pragma"] == "no-cache"
    assert "Cache-Control" not in headers


# -- what a request has to be ----------------------------------------------------------------------


def test_the_allow_tool_refuses_other_methods(serve_page: Serve) -> None:
    client = serve_page(lambda **values: "x", **on("allow", methods="post"))
    assert client.post("/").headers["Allow"] == "POST"
    assert client.get("/").status_code == 405
    client = serve_page(lambda **values: "x", **on("allow", methods=["GET"]))
    assert client.head("/").headers["Allow"] == "GET, HEAD"
    client = serve_page(lambda **values: "x", **on("allow"))
    assert (client.get("/").status_code, client.post("/").status_code) == (200, 405)


def test_the_accept_tool_has_nothing_to_choose_from_without_types(
    cherrypy: Any, serve_page: Serve
) -> None:
    client = serve_page(lambda **values: str(cherrypy.lib.cptools.accept()))
    assert client.get("/").text == "None"
    client = serve_page(lambda **values: str(cherrypy.lib.cptools.accept("a/b")))
    del client.headers["Accept"]
    assert client.get("/").text == "a/b"


@pytest.mark.parametrize("tool", ["params", "json_out"])
def test_a_handler_replaced_by_another_tool_is_kept(serve_our_page: Serve, tool: str) -> None:
    def stop() -> None:
        ours.request.handler = None
        ours.response.body = b"stopped"

    config = {**on(tool), "hooks.before_handler": ours._cprequest.Hook(stop, priority=1)}
    assert serve_our_page(lambda **values: "x", **config).get("/").text == "stopped"


# -- the request and the response ------------------------------------------------------------------


def test_behind_several_proxies_the_last_address_counts(cherrypy: Any, serve_page: Serve) -> None:
    client = serve_page(lambda: str(cherrypy.request.remote.ip), **on("proxy"))
    seen = "1.2.3.4" if cherrypy is original else "5.6.7.8"  # the first one may be the client's own
    assert client.get("/", headers={"X-Forwarded-For": "1.2.3.4, 5.6.7.8"}).text == seen


def test_response_headers_stay_with_errors(cherrypy: Any, serve_page: Serve) -> None:
    def answer(**values: Any) -> str:
        raise cherrypy.HTTPError(409)

    client = serve_page(answer, **on("response_headers", headers=[("X-One", "1")]))
    assert client.get("/").headers["X-One"] == "1"
    client = serve_page(lambda **values: "x", **on("response_headers"))
    assert client.get("/").status_code == 200


@pytest.mark.parametrize("encodes", [True, False])
def test_generators_in_generators_are_flattened(serve_page: Serve, encodes: bool) -> None:
    def inner() -> Any:
        yield b"b"
        yield (piece for piece in [b"c", b"d"])

    def answer(**values: Any) -> Any:
        yield b"a"
        yield inner()

    config = {**on("flatten"), "tools.encode.on": encodes}
    assert serve_page(answer, **config).get("/").text == "abcd"


def test_vary_lists_the_headers_that_were_read(cherrypy: Any, serve_page: Serve) -> None:
    def answer(**values: Any) -> str:
        cherrypy.response.headers["Vary"] = "X-Own"
        return str(cherrypy.request.headers.get("x-choice")) + str(
            "X-Other" in cherrypy.request.headers
        )

    config = {
        **on(
            "autovary",
            ignore={"Host", "X-Other", "Content-Disposition", "Content-Length", "Content-Type"},
        )
    }
    response = serve_page(answer, **config).get("/", headers={"X-Choice": "1"})
    vary = response.headers["Vary"].lower()
    assert {"x-own", "x-choice"} <= set(vary.split(", "))
    assert "x-other" not in vary


def test_the_autovary_tool_adds_vary_without_exceptions(serve_our_page: Serve) -> None:
    response = serve_our_page(
        lambda **values: str(ours.request.headers.get("X-A")), **on("autovary")
    ).get("/")
    assert "X-A" in response.headers["Vary"].split(", ")


def test_the_autovary_tool_adds_no_vary_if_no_header_was_read(serve_our_page: Serve) -> None:
    response = serve_our_page(lambda **values: "pie", **on("autovary")).get("/")
    assert (response.text, response.headers.get("Vary")) == ("pie", None)


# -- redirects -------------------------------------------------------------------------------------


def test_the_redirect_tool_redirects_internally(connect: MakeClient, world: str) -> None:
    class Root:
        @ours.expose
        @ours.tools.redirect(url="/there")
        def away(self) -> str:
            return "unreached"

        @ours.expose
        def there(self) -> str:
            return f"there, was at {ours.request.prev.path_info}"

    assert connect(ours.Application(Root(), ""), world).get("/away").text == "there, was at /away"


# -- logs ------------------------------------------------------------------------------------------


def test_the_log_tools_log_errors(serve_our_page: Serve, caplog: pytest.LogCaptureFixture) -> None:
    def answer(**values: Any) -> str:
        raise LookupError("lost")

    with caplog.at_level("INFO", "cherrypy.error"):
        client = serve_our_page(
            answer, **on("log_headers"), **on("log_tracebacks"), **on("log_hooks")
        )
        status = client.get("/", headers={"Authorization": "Basic secret", "X-A": "1"}).status_code
        assert status == 500
        client.close()
    assert "LookupError: lost" in caplog.text
    assert "X-A: '1'" in caplog.text
    assert "secret" not in caplog.text
    assert "] HTTP \nRequest Headers:\n  Host: " in caplog.text
    assert "] HTTP \nRequest Hooks for http://testserver/:\n    " in caplog.text


# -- log-ins ---------------------------------------------------------------------------------------


def login_config(cherrypy: Any, **options: Any) -> dict[str, Any]:
    check = lambda username, password: None if password == "right" else "wrong <password>"  # noqa: E731
    return {**on("sessions"), **on("session_auth", check_username_and_password=check, **options)}


def test_the_session_auth_tool_shows_a_login_form_first(cherrypy: Any, serve_page: Serve) -> None:
    events: list[str] = []
    config = login_config(cherrypy, on_login=lambda name: events.append(f"login {name}"))
    client = serve_page(lambda *segments, **values: f"hello {cherrypy.request.login}", **config)
    asked = client.get("/")
    assert 'name="password"' in asked.text
    assert "hello" not in asked.text
    wrong = client.post(
        "/do_login", data={"username": "ann", "password": "x", "from_page": "/page"}
    )
    assert "wrong &lt;password&gt;" in wrong.text.replace("<password>", "&lt;password&gt;")
    right = client.post(
        "/do_login", data={"username": "ann", "password": "right", "from_page": "/page"}
    )
    assert (right.status_code, right.headers["Location"][-5:]) == (303, "/page")
    assert client.get("/page").text == "hello ann"
    assert events == ["login ann"]
    assert client.get("/do_login").status_code == 405
    assert 'name="password"' in client.get("/login_screen").text
    assert client.post("/do_logout", data={"from_page": "/"}).status_code == 303
    assert 'name="password"' in client.get("/").text
    assert client.post("/do_logout").status_code == 303


def test_anonymous_users_can_have_a_name(cherrypy: Any, serve_page: Serve) -> None:
    config = login_config(cherrypy, anonymous=lambda: "nobody")
    client = serve_page(lambda *segments, **values: f"hello {cherrypy.request.login}", **config)
    assert client.get("/").text == "hello nobody"


def test_a_login_cannot_redirect_to_another_host(serve_our_page: Serve) -> None:
    client = serve_our_page(lambda *segments, **values: "x", **login_config(ours))
    for target in (
        "http://evil.example/",
        "//evil.example/",
        "\\\\evil.example/",
        "javascript:alert(1)",
    ):
        login = {"username": "ann", "password": "right", "from_page": target}
        assert "evil" not in client.post("/do_login", data=login).headers["Location"]
        assert "javascript" not in client.post("/do_logout", data=login).headers["Location"]


def test_session_auth_without_a_check_lets_nobody_in(serve_our_page: Serve) -> None:
    client = serve_our_page(lambda *segments, **values: "x", **on("sessions"), **on("session_auth"))
    login = {"username": "ann", "password": ""}
    assert "No password check is set" in client.post("/do_login", data=login).text


def test_basic_auth_sends_a_challenge(serve_page: Serve) -> None:
    config = on("auth_basic", realm="here", checkpassword=None, accept_charset="iso-8859-1")
    asked = serve_page(lambda **values: "x", **config).get("/")
    assert asked.headers["WWW-Authenticate"] == 'Basic realm="here"'
    config["tools.auth_basic.realm"] = 'a "realm"'
    assert serve_page(lambda **values: "x", **config).get("/").status_code == 500


def test_digest_auth_accepts_valid_credentials(
    cherrypy: Any, serve_page: Serve, tmp_path: Path
) -> None:
    import httpx2 as httpx

    digest = cherrypy.lib.auth_digest
    users = tmp_path / "users"
    users.write_text(f"bob:there:x\nann:here:{auth_digest.H('ann:here:secret')}\n")
    for get_ha1 in (
        digest.get_ha1_dict_plain({"ann": "secret"}),
        digest.get_ha1_dict({"ann": auth_digest.H("ann:here:secret")}),
        digest.get_ha1_file_htdigest(str(users)),
    ):
        config = on("auth_digest", realm="here", get_ha1=get_ha1, key="k")
        client = serve_page(lambda **values: cherrypy.request.login, **config)
        assert client.get("/", auth=httpx.DigestAuth("ann", "secret")).text == "ann"
        for name, password in (("ann", "x"), ("eve", "secret")):
            assert client.get("/", auth=httpx.DigestAuth(name, password)).status_code == 401


def digest_header(nonce: str, /, **changes: str | None) -> dict[str, str]:
    """Return the header of a client that knows the password, with changes; None leaves a parameter
    out.
    """
    ha1 = auth_digest.H("ann:here:secret")
    algorithm = changes.get("algorithm", "MD5") or "MD5"
    if algorithm == "MD5-sess":
        ha1 = auth_digest.H(f"{ha1}:{nonce}:c")
    ha2 = auth_digest.H("GET:/")
    middle = f"{nonce}:00000001:c:auth" if changes.get("qop", "auth") else nonce
    parameters: dict[str, str | None] = {
        "username": "ann",
        "realm": "here",
        "nonce": nonce,
        "uri": "/",
        "qop": "auth",
        "nc": "00000001",
        "cnonce": "c",
        "response": auth_digest.H(f"{ha1}:{middle}:{ha2}"),
        **changes,
    }
    listed = ", ".join(
        f'{name}="{value}"' for name, value in parameters.items() if value is not None
    )
    return {"Authorization": f"Digest {listed}"}


DIGEST = on(
    "auth_digest", realm="here", get_ha1=auth_digest.get_ha1_dict_plain({"ann": "secret"}), key="k"
)


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({}, 200),
        ({"qop": None, "nc": None, "cnonce": None}, 200),
        ({"algorithm": "MD5-sess"}, 200),
        ({"realm": "there"}, 401),
        ({"response": "0" * 32}, 401),
        ({"username": "é"}, 401),
        ({"username": None}, 400),
        ({"algorithm": "SHA-512-256"}, 400),
        ({"qop": "auth-int"}, 400),
        ({"cnonce": None}, 400),
        ({"nonce": "1:x"}, 401),
        ({"nonce": "x:1"}, 401),
        ({"nonce": "²:1"}, 401),
    ],
)
def test_malformed_digest_headers_are_parsed_safely(
    cherrypy: Any, serve_page: Serve, side: str, changes: Any, status: int
) -> None:
    config = {**DIGEST}
    if side == "original":
        config["tools.auth_digest.get_ha1"] = cherrypy.lib.auth_digest.get_ha1_dict_plain(
            {"ann": "secret"}
        )
        # It answers these by other errors, or by none.
        if (
            {"algorithm", "realm"} & changes.keys()
            or changes.get("qop")
            or "²:1" in changes.values()
        ):
            return
    nonce = cherrypy.lib.auth_digest.synthesize_nonce("here", "k")
    headers = {
        name.encode(): value.encode() for name, value in digest_header(nonce, **changes).items()
    }
    client = serve_page(lambda **values: cherrypy.request.login, **config)
    assert client.get("/", headers=headers).status_code == status


def test_a_stale_nonce_gets_a_new_challenge(cherrypy: Any, serve_page: Serve) -> None:
    config = {
        **DIGEST,
        "tools.auth_digest.get_ha1": cherrypy.lib.auth_digest.get_ha1_dict_plain({"ann": "secret"}),
    }
    nonce = cherrypy.lib.auth_digest.synthesize_nonce("here", "k", 1_000_000_000)
    asked = serve_page(lambda **values: "x", **config).get("/", headers=digest_header(nonce))
    assert asked.status_code == 401
    assert 'stale="true"' in asked.headers["WWW-Authenticate"]


def test_malformed_digest_headers_get_a_400(serve_our_page: Serve) -> None:
    client = serve_our_page(lambda **values: "x", **DIGEST)
    for header in ("Digest =", "Digest uri=", 'Digest username="a" realm="b"', "Digest , ,"):
        assert client.get("/", headers={"Authorization": header}).status_code == 400
    found = auth_digest.HttpDigestAuthorization(
        r'Digest username="a\"b", realm=r, nonce="n", uri="/", response="x"', "GET"
    )
    assert (found.username, found.realm) == ('a"b', "r")
    found = auth_digest.HttpDigestAuthorization(
        'Digest username="\xe9", realm=r, nonce="n", uri="/", response="x"', "GET"
    )
    assert found.username == "é"
    given = auth_digest.www_authenticate("r", "k", nonce="n", accept_charset="iso-8859-1")
    assert 'charset="UTF-8"' not in given


def test_digest_passwords_are_read_from_a_file(tmp_path: Path) -> None:
    users = tmp_path / "users"
    users.write_text("ann:a:realm:abc\n")
    assert auth_digest.get_ha1_file_htdigest(str(users))("a:realm", "ann") == "abc"
    assert auth_digest.get_ha1_file_htdigest(str(users))("other", "ann") is None
    assert auth_basic.checkpassword_dict({})("r", "ann", "x") is False


# -- encodings -------------------------------------------------------------------------------------


def test_the_encode_tool_encodes_text(cherrypy: Any, serve_page: Serve) -> None:
    def answer(kind: str = "", **values: Any) -> Any:
        if kind:
            cherrypy.response.headers["Content-Type"] = kind
        return "é"

    client = serve_page(answer, **{"tools.encode.text_only": False})
    header = client.get("/?kind=application/x").headers["Content-Type"]
    assert header == "application/x;charset=utf-8"
    client = serve_page(answer, **{"tools.encode.encoding": "us-ascii"})
    assert client.get("/").status_code == 406
    client = serve_page(
        answer, **{"tools.encode.encoding": "us-ascii", "tools.encode.errors": "replace"}
    )
    assert client.get("/").text == "?"


def test_the_encode_tool_keeps_parameters_of_the_content_type(serve_our_page: Serve) -> None:
    def answer(kind: str) -> Any:
        ours.response.headers["Content-Type"] = kind
        return ["é", b"x"]

    client = serve_our_page(answer)
    response = client.get("/", params={"kind": "text/plain; format=flowed; charset=ascii"})
    assert response.headers["Content-Type"] == "text/plain; format=flowed;charset=utf-8"
    assert response.text == "éx"
    assert client.get("/?kind=").status_code == 500
    client = serve_our_page(lambda **values: "é", **{"tools.encode.add_charset": False})
    assert client.get("/").headers["Content-Type"] == "text/html"


def test_closing_encoded_chunks_closes_their_source() -> None:
    closed: list[str] = []

    def pieces() -> Any:
        try:
            yield "a"
            yield "b"
        finally:
            closed.append("closed")

    source = pieces()
    body = Chunks.of(source, map(str.encode, source))
    assert next(body) == b"a"
    body.close()
    Chunks.of(["a"], ["a"]).close()
    assert closed == ["closed"]


def test_the_decode_tool_decodes_forms(serve_page: Serve) -> None:
    body = "name=é".encode("latin-1")
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    client = serve_page(lambda **values: values["name"], **on("decode", encoding="latin-1"))
    assert client.post("/", content=body, headers=headers).text == "é"
    client = serve_page(
        lambda **values: values["name"], **on("decode", default_encoding=["latin-1"])
    )
    assert client.post("/", content=body, headers=headers).text == "é"
    client = serve_page(lambda **values: values["name"], **on("decode", default_encoding=""))
    assert client.post("/", content=body, headers=headers).status_code == 400


def test_a_compressed_response_has_one_vary_header(cherrypy: Any, serve_page: Serve) -> None:
    def answer(**values: Any) -> bytes:
        cherrypy.response.headers["Vary"] = "Accept-Encoding, X-A"
        return b"content" * 100

    response = serve_page(answer, **on("gzip")).get("/")
    assert response.headers["Vary"] == "Accept-Encoding, X-A"


@pytest.mark.parametrize(
    ("media_type", "is_compressed"),
    [
        ("text/css", True),
        ("image/css", False),
        ("application/atom+xml", True),
        ("application/json", False),
    ],
)
def test_media_types_outside_the_list_are_not_compressed(
    cherrypy: Any, serve_page: Serve, media_type: str, is_compressed: bool
) -> None:
    def answer(**values: Any) -> bytes:
        cherrypy.response.headers["Content-Type"] = media_type
        return b"content" * 100

    response = serve_page(answer, **on("gzip", mime_types=["text/*", "application/*+xml"])).get("/")
    assert (response.headers.get("Content-Encoding") == "gzip") is is_compressed


def test_compressed_chunks_can_be_decompressed() -> None:
    packed = b"".join(encoding.compress([b"a" * 1000, os.urandom(100_000)], 9))
    assert gzip.decompress(packed)[:1000] == b"a" * 1000
    assert encoding.decompress(b"".join(encoding.compress([b"x"], 1))) == b"x"
    closed: list[str] = []

    def pieces() -> Any:
        try:
            yield os.urandom(100_000)
            yield b""
        finally:
            closed.append("closed")

    made = encoding.compress(pieces(), 1)
    next(made)
    made.close()  # type: ignore[attr-defined]
    assert closed == ["closed"]


# -- JSON ------------------------------------------------------------------------------------------


def test_the_json_tools_encode_and_decode(cherrypy: Any, serve_page: Serve) -> None:
    def shout(*args: Any, **kwargs: Any) -> bytes:
        value: str = cherrypy.serving.request._json_inner_handler(*args, **kwargs)
        return value.upper().encode()

    client = serve_page(lambda **values: "text", **on("json_out", handler=shout, content_type=None))
    response = client.get("/")
    assert (response.text, response.headers["Content-Type"]) == ("TEXT", "text/html;charset=utf-8")

    def read(entity: Any) -> None:
        cherrypy.request.json = entity.fp.read()[::-1].decode()

    config = on("json_in", content_type="text/x", processor=read, force=False)
    client = serve_page(lambda **values: cherrypy.request.json, **config)
    assert client.post("/", content=b"abc", headers={"Content-Type": "text/x"}).text == "cba"


def test_invalid_json_gets_a_400(serve_our_page: Serve) -> None:
    client = serve_our_page(lambda **values: repr(ours.request.json), **on("json_in"))
    headers = {"Content-Type": "application/json"}
    assert client.post("/", content=b"[" * 1100, headers=headers).status_code == 400
    # a length is not needed
    assert client.post("/", content=iter([b"[1", b"]"]), headers=headers).text == "[1]"


def test_the_json_tool_encodes_an_async_handler_s_result(serve_our_root: Serve) -> None:
    class Root:
        @ours.expose
        @ours.tools.json_out()
        async def index(self) -> dict[str, int]:
            return {"a": 1}

        @ours.expose
        async def text(self) -> str:
            return "é"

    client = serve_our_root(Root())
    assert client.get("/").text == '{"a": 1}'
    assert client.get("/text").text == "é"


def test_json_functions_can_be_called_directly(cherrypy: Any) -> None:
    if cherrypy is ours:
        assert b"".join(jsontools.encode({"é": 1})) == b'{"\\u00e9": 1}'
        assert jsontools.decode('{"a": 1}') == {"a": 1}


# -- caching ---------------------------------------------------------------------------------------


class Counting:
    """A handler that counts its calls."""

    def __init__(self, cherrypy: Any, **headers: str) -> None:
        self.cherrypy = cherrypy
        self.calls = 0
        self.headers = headers

    def __call__(self, *segments: str, **values: Any) -> str:
        self.calls += 1
        for name, value in self.headers.items():
            self.cherrypy.response.headers[name.replace("_", "-")] = value
        if values.get("fail"):
            raise LookupError
        return (
            f"{self.calls} {self.cherrypy.request.headers.get('X-Choice', '')}"
            if not values.get("empty")
            else ""
        )


@pytest.fixture(autouse=True)
def no_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    """Begin each test without a cache."""
    monkeypatch.setattr(ours, "_cache", None, raising=False)
    if hasattr(original, "_cache"):
        del original._cache


def test_responses_with_cache_control_private_or_vary_asterisk_are_not_cached(
    serve_our_page: Serve,
) -> None:
    for headers in ({"Cache_Control": "private"}, {"Vary": "*"}):
        client = serve_our_page(Counting(ours, **headers), **on("caching"))
        assert [client.get("/").text, client.get("/").text] == ["1 ", "2 "]


@pytest.mark.parametrize("stream", [False, True], ids=["buffered", "streamed"])
def test_the_cache_never_makes_pages_private(
    cherrypy: Any, serve_page: Serve, stream: bool
) -> None:
    """HEAD gets the same headers as GET, and shared caches may store both."""
    client = serve_page(lambda: iter("pie"), **on("caching"), response__stream=stream)
    for answer in (client.get("/"), client.get("/"), client.head("/")):
        assert not {"cache-control", "vary"} & {*answer.headers}


def test_a_cached_page_older_than_the_requested_age_is_not_sent(
    serve_our_page: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "time", lambda: 1_800_000_000.0)
    client = serve_our_page(Counting(ours), **on("caching"))
    assert client.get("/").text == "1 "
    cache: Any = ours._cache
    for key, (variant, size, until) in [*cache._entries.items()]:
        cache._entries[key] = caching._Entry((*variant[:3], variant[3] - 60), size, until)
    assert client.get("/").headers["Age"] == "60"
    assert client.get("/", headers={"Cache-Control": "max-age=30"}).text == "2 "
    for key, (variant, size, _) in [*cache._entries.items()]:
        cache._entries[key] = caching._Entry(variant, size, 0)
    assert client.get("/").text == "3 "


def test_the_cache_has_size_limits(serve_our_page: Serve) -> None:
    client = serve_our_page(Counting(ours), **on("caching", maxobjects=2, maxobj_size=20))
    texts = [client.get(path).text for path in ("/a", "/b", "/a", "/c", "/a", "/b")]
    assert texts == ["1 ", "2 ", "1 ", "3 ", "1 ", "4 "]
    choice = {"X-Choice": "x" * 20}
    assert [client.get("/d", headers=choice).text[:2] for _ in range(2)] == ["5 ", "6 "]
    cache: Any = ours._cache
    assert cache.cursize == 4
    cache.clear()
    assert cache.cursize == 0
    assert client.get("/a").text == "7 "


def test_unsafe_methods_invalidate_cached_pages(cherrypy: Any, serve_page: Serve) -> None:
    client = serve_page(Counting(cherrypy), **on("caching", invalid_methods=["PATCH"]))
    assert [client.get("/").text, client.get("/").text] == ["1 ", "1 "]
    assert client.patch("/").text == "2 "
    assert client.get("/").text == "3 "


def test_concurrent_requests_wait_for_the_first_response_to_be_cached(
    serve_our_root: Serve,
) -> None:
    entered, go_on = threading.Event(), threading.Event()
    calls: list[int] = []

    def answer(*segments: str, **values: Any) -> str:
        calls.append(1)
        entered.set()
        assert go_on.wait(PATIENCE)
        if values:
            raise LookupError
        return "made"

    waiting = threading.Event()

    class Cache(caching.MemoryCache):
        def get(self) -> Any:
            if entered.is_set():
                waiting.set()
            return super().get()

    client = serve_our_root(
        page(ours, answer, **on("caching", antistampede_timeout=PATIENCE, cache_class=Cache)),
        app_timeout=PATIENCE,
    )
    for path, expected, count in (("/", 200, 1), ("/?fail=1", 500, 2)):
        for event in (entered, go_on, waiting):
            event.clear()
        calls.clear()
        answers: list[int] = []

        def get(path: str = path, answers: list[int] = answers) -> None:
            answers.append(client.get(path).status_code)

        first = threading.Thread(target=get)
        first.start()
        assert entered.wait(PATIENCE)
        second = threading.Thread(target=get)
        second.start()
        assert waiting.wait(PATIENCE)
        go_on.set()
        first.join(PATIENCE)
        second.join(PATIENCE)
        assert answers == [expected, expected]
        assert len(calls) == count


def test_requests_do_not_wait_without_an_antistampede_timeout(serve_our_page: Serve) -> None:
    client = serve_our_page(Counting(ours), **on("caching", antistampede_timeout=None))
    assert [client.get("/").text, client.get("/").text] == ["1 ", "1 "]


def test_an_aborted_stream_is_not_cached(serve_our_page: Serve) -> None:
    closed: list[str] = []

    def answer(**values: Any) -> Any:
        try:
            yield "x"
        finally:
            closed.append("closed")

    client = serve_our_page(answer, **on("caching"))
    assert [client.get("/").text, client.get("/").text] == ["x", "x"]
    assert closed == ["closed"]


def test_a_compressed_response_is_cached_once(cherrypy: Any, serve_page: Serve) -> None:
    client = serve_page(Counting(cherrypy), **on("caching"), **on("gzip"))
    for _ in range(2):
        response = client.get("/")
        assert (response.text, response.headers["Content-Encoding"]) == ("1 ", "gzip")


# -- files -----------------------------------------------------------------------------------------


leaks_in_the_original = pytest.mark.filterwarnings(
    "ignore:unclosed file:ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)


@pytest.fixture
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "note.txt").write_bytes(b"0123456789" * 10)
    (tmp_path / "large.bin").write_bytes(os.urandom(700_000))
    (tmp_path / "index.html").write_text("index")
    (tmp_path / "odd.unknown").write_text("<script>")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "index.html").write_text("inner index")
    (tmp_path.parent / f"{tmp_path.name}-other").mkdir()
    (tmp_path.parent / f"{tmp_path.name}-other" / "secret.txt").write_text("secret")
    yield tmp_path
    if leaks_in_the_original.mark in request.node.iter_markers("filterwarnings"):
        gc.collect()  # within the test that lets the original leave files open


@leaks_in_the_original
def test_staticdir_serves_a_directory(cherrypy: Any, serve_root: Serve, folder: Path) -> None:
    options = {
        "dir": str(folder),
        "index": "index.html",
        "content_types": {"bin": "application/x-own"},
    }
    client = serve_root(
        page(cherrypy, lambda *segments, **values: "handler"),
        {"/files": on("staticdir", **options)},
    )
    assert client.get("/files/").text == "index"
    assert client.get("/files/folder/").text == "inner index"
    assert client.get("/files/large.bin").headers["Content-Type"] == "application/x-own"
    assert client.get("/files/large.bin").content == (folder / "large.bin").read_bytes()
    assert client.head("/files/large.bin").headers["Content-Length"] == "700000"
    content = client.get("/files/large.bin", headers={"Range": "bytes=10-399999"}).content
    assert content == (folder / "large.bin").read_bytes()[10:400_000]
    assert client.get("/files/none.txt").text == "handler"
    assert client.post("/files/note.txt").text == "handler"


def test_a_file_is_read_once_for_all_its_urls(
    serve_our_root: Serve, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise a client could have a large file read by each request."""
    monkeypatch.setattr(lookup, "_STEP", -(1 << 62))  # files do not have to settle
    client = serve_our_root(None, {"/": on("staticdir", dir=str(folder))})
    fingerprints.IDENTIFIED.clear()
    for slashes in ("/", "//", "/////"):
        assert client.get(f"/folder{slashes}index.html").text == "inner index"
    assert len(fingerprints.IDENTIFIED) == 1


def test_staticdir_does_not_serve_a_neighbouring_directory(
    serve_our_root: Serve, folder: Path
) -> None:
    client = serve_our_root(
        page(ours, lambda *segments: "handler"), {"/files": on("staticdir", dir=str(folder))}
    )
    for target in (
        f"/files/../{folder.name}-other/secret.txt",
        f"/files/%2e%2e/{folder.name}-other/secret.txt",
        f"/files/..%2f{folder.name}-other/secret.txt",
    ):
        assert client.get("/", extensions={"target": target.encode()}).status_code == 403
    for target in ("/files/a%00b", f"/files/{'x' * 5000}", "/files/note.txt/x", "/files/folder"):
        assert client.get("/", extensions={"target": target.encode()}).text == "handler"
    assert client.get("/files/odd.unknown").headers["Content-Type"] == "application/octet-stream"


def test_staticdir_needs_an_absolute_root(cherrypy: Any, serve_root: Serve, folder: Path) -> None:
    root = page(cherrypy, lambda *segments, **values: "handler")
    config = {
        "/": {"tools.staticdir.root": str(folder.parent)},
        "/f": on("staticdir", dir=folder.name),
    }
    assert serve_root(root, config).get("/f/note.txt").status_code == 200
    answer = serve_root(root, {"/f": on("staticdir", dir="relative")}).get("/f/note.txt")
    assert answer.status_code == 500
    matched = on("staticdir", dir=str(folder), match=r"\.html$")
    assert serve_root(root, {"/f": matched}).get("/f/note.txt").text == "handler"


def test_staticdir_serves_a_whole_site(serve_root: Serve, folder: Path) -> None:
    client = serve_root(None, {"/": on("staticdir", dir=str(folder), index="index.html")})
    assert client.get("/").text == "index"
    assert client.get("/note.txt").status_code == 200
    assert client.get("/none").status_code == 404
    assert client.get("/folder").text == "inner index"  # nothing else answers there


def test_staticfile_serves_one_file(cherrypy: Any, serve_root: Serve, folder: Path) -> None:
    root = page(cherrypy, lambda *segments, **values: "handler")
    client = serve_root(
        root, {"/f": on("staticfile", filename=str(folder / "note.txt"), match="f$")}
    )
    assert client.get("/f").status_code == 200
    assert client.get("/f/x").text == "handler"
    client = serve_root(root, {"/f": on("staticfile", filename="note.txt", root=str(folder))})
    assert client.get("/f").status_code == 200
    client = serve_root(root, {"/f": on("staticfile", filename="note.txt")})
    assert client.get("/f").status_code == 500


def test_several_ranges_are_sent_as_multipart(serve_our_root: Serve, folder: Path) -> None:
    client = serve_our_root(None, {"/": on("staticdir", dir=str(folder))})
    several = client.get("/note.txt", headers={"Range": "bytes=0-1,5-6"})
    assert several.headers["Content-Type"].startswith("multipart/byteranges; boundary=")
    assert b"Content-range: bytes 5-6/100\r\n\r\n56\r\n" in several.content
    many = ",".join(f"{number}-{number}" for number in range(17))
    for ranges in (many, "0-99,0-99"):
        assert client.get("/note.txt", headers={"Range": f"bytes={ranges}"}).status_code == 200
    assert client.get("/large.bin", headers={"Range": "bytes=0-"}).status_code == 206


def test_if_range_compares_the_client_s_version(serve_our_root: Serve, folder: Path) -> None:
    client = serve_our_root(None, {"/": on("staticdir", dir=str(folder))})
    etag = client.get("/note.txt").headers["ETag"]
    for condition, status in ((etag, 206), ('"x"', 200)):
        headers = {"Range": "bytes=0-1", "If-Range": condition}
        assert client.get("/note.txt", headers=headers).status_code == status
    assert client.get("/note.txt", headers={"If-None-Match": etag}).status_code == 304
    assert client.get("/note.txt", headers={"If-Match": '"x"'}).status_code == 412


def test_a_file_may_be_an_error_page(serve_our_page: Serve, folder: Path) -> None:
    def answer(**values: Any) -> Any:
        ours.response.status = 404
        return static.serve_file(str(folder / "note.txt"))

    client = serve_our_page(answer)
    assert client.get("/", headers={"Range": "bytes=0-1"}).status_code == 404
    assert client.post("/").status_code == 404


def test_http_1_0_gets_the_whole_file(serve_our_page: Serve, folder: Path) -> None:
    def answer(**values: Any) -> Any:
        ours.request.protocol = (1, 0)
        return static.serve_file(str(folder / "note.txt"))

    response = serve_our_page(answer).get("/", headers={"Range": "bytes=0-1"})
    assert (response.status_code, len(response.content)) == (200, 100)
    assert "Accept-Ranges" not in response.headers


def test_objects_that_are_not_files_are_refused(serve_our_page: Serve, tmp_path: Path) -> None:
    class Pipe:
        def __init__(self) -> None:
            self.pieces = [b"a", b"b", b""]

        def read(self, size: int) -> bytes:
            return self.pieces.pop(0)

    def answer(**values: Any) -> Any:
        return static.serve_fileobj(Pipe())

    assert serve_our_page(answer).get("/").text == "ab"

    def answer_pipe(**values: Any) -> Any:
        reader, writer = os.pipe()
        os.write(writer, b"piped")
        os.close(writer)
        return static.serve_fileobj(os.fdopen(reader, "rb"))

    assert serve_our_page(answer_pipe).get("/").text == "piped"

    def answer_several(**values: Any) -> Any:
        return static.serve_fileobj((tmp_path / "f").open("rb"), "text/plain")

    (tmp_path / "f").write_text("0123456789")
    whole = serve_our_page(answer_several).get("/", headers={"Range": "bytes=0-1,4-5"})
    assert (whole.status_code, whole.text) == (200, "0123456789")


def test_downloads_have_names(serve_our_page: Serve, folder: Path) -> None:
    def answer(shown: str) -> Any:
        return static.serve_download(folder / "note.txt", shown)

    client = serve_our_page(answer)
    for shown, header in (
        ("a.txt", 'attachment; filename="a.txt"'),
        ('a"b\r\n.txt', 'attachment; filename="a_b__.txt"'),
        ("é.txt", "attachment; filename=\"e.txt\"; filename*=UTF-8''%C3%A9.txt"),
    ):
        assert client.get("/", params={"shown": shown}).headers["Content-Disposition"] == header


def test_a_download_of_an_object_without_a_name_works(serve_our_page: Serve) -> None:
    def answer(**values: Any) -> Any:
        return static.serve_fileobj(io.BytesIO(b"x"), "text/plain", "attachment")

    assert serve_our_page(answer).get("/").headers["Content-Disposition"] == "attachment"


def test_serving_a_fifo_or_a_directory_gets_a_404(serve_our_page: Serve, folder: Path) -> None:
    os.mkfifo(folder / "fifo")

    def answer(name: str) -> Any:
        return static.serve_file(f"{folder}/{name}")

    client = serve_our_page(answer)
    assert client.get("/?name=fifo").status_code == 404
    (folder / "below").mkdir()
    assert client.get("/?name=below").status_code == 404
    assert client.get("/", params={"name": "a\0b"}).status_code == 404
    assert not open_files(folder)


@pytest.mark.parametrize("name", ["a\0b", "\ud800", "/dev/zero", "/dev", "none", b"a", 1, None])
def test_R39_a_file_s_download_name_may_differ_from_its_path(
    serve_our_page: Serve, folder: Path, name: object
) -> None:
    class Named(FileIO):
        pass

    def answer(**values: Any) -> Any:
        file = Named(folder / "large.bin")
        file.name = name
        return static.serve_fileobj(file)

    response = serve_our_page(answer).get("/")
    assert (response.status_code, len(response.content)) == (200, 700_000)
    assert response.headers["ETag"]


def test_serve_file_works_without_a_request(folder: Path) -> None:
    body = static.serve_file(folder / "large.bin")
    assert isinstance(body, bytes)
    assert len(body) == 700_000


# -- the toolbox -----------------------------------------------------------------------------------


def test_the_toolbox_has_all_tools_of_the_original() -> None:
    names = {name for name, tool in vars(original.tools).items() if isinstance(tool, original.Tool)}
    box = default_toolbox()
    assert isinstance(box, Toolbox)
    assert names <= {name for name, tool in vars(box).items() if isinstance(tool, ours.Tool)}
    for name in names:
        theirs, own = getattr(original.tools, name), getattr(box, name)
        assert (theirs._point or "", theirs._priority) == (own._point or "", own._priority), name


def test_is_iterator_recognises_iterators() -> None:
    lib = ours.lib
    assert lib.is_iterator(iter([]))
    assert not lib.is_iterator([])
    assert not lib.is_iterator(1)
    assert lib.is_closable_iterator(piece for piece in [1])
    assert not lib.is_closable_iterator(iter([]))


def test_file_generators_yield_pieces_and_close_the_file() -> None:
    lib = ours.lib
    file = io.BytesIO(b"abcde")
    assert list(lib.file_generator(file, 2)) == [b"ab", b"cd", b"e"]
    assert file.closed
    assert list(lib.file_generator_limited(io.BytesIO(b"abcde"), 3, 2)) == [b"ab", b"c"]
    assert list(lib.file_generator_limited(io.BytesIO(b"ab"), 3)) == [b"ab"]

    class Reader:
        def read(self, size: int) -> bytes:
            return b""

    lib.file_generator(Reader()).close()
