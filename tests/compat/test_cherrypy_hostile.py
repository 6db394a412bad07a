"""``compat.cherrypy`` against clients that would stop it, or fill its memory, in each world. The original is slower."""

from __future__ import annotations

import base64
import encodings
import logging
import re
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from micropie import HTTPError, HttpMiddleware, Request
from micropie.compat import cherrypy as ours
from micropie.compat.bottle import Bottle
from micropie.compat.cherrypy.lib import caching
from micropie.compat.cherrypy.lib.httputil import decode_TEXT, parse_query_string
from micropie.compat.cherrypy.lib.sessions import RamSession
from tests.conftest import MakeClient

Serve = Callable[..., Any]


class Root:
    """What a client can send to any application: cookies, headers, a form, a query."""

    _cp_config = {"request.show_tracebacks": False}

    @ours.expose
    def moved(self) -> None:
        raise ours.HTTPRedirect("/elsewhere")

    @ours.expose
    def index(self, **values: Any) -> str:
        word = ours.request.headers.get("X-Word", "")
        return repr((sorted(ours.request.cookie), word, sorted(values.items())))


class Closed(HttpMiddleware):
    """Refuses a path."""

    def __init__(self, path: str) -> None:
        self.path = path

    def before_request(self, request: Request) -> None:
        if request.path == self.path:
            raise HTTPError(403)


@pytest.fixture
def client(make_client: MakeClient) -> Any:
    return make_client(ours.Application(Root()))


def test_R28_a_cookie_of_escapes_takes_linear_time(client: Any) -> None:
    """CVE-2024-7592: in quadratic time this would take a minute."""
    header = 'a=1; b="' + "\\" * 200_000 + '"'
    assert client.get("/", headers={"Cookie": header}).text.startswith("(['a', 'b']")
    assert client.get("/", headers={"Cookie": f"a@b=1; {header}"}).status_code == 400


@pytest.mark.parametrize("charset", ["punycode", "idna", "undefined", "unicode_escape", "no\\x00name", "a-b-c-d"])
def test_R28_a_form_is_read_in_a_real_charset_only(client: Any, charset: str) -> None:
    """A form in punycode takes quadratic time: hours for 10 MB."""
    kind = {"Content-Type": f'application/x-www-form-urlencoded; charset="{charset}"'}
    answer = client.post("/", content=b"a=" + b"%61" * 100_000 + b"-" + b"b" * 200_000, headers=kind)
    assert (answer.status_code, len(answer.text)) == (200, 300_022)
    assert client.post("/", content=b"a=%FF", headers=kind).status_code == 400


def test_R28_names_of_charsets_are_not_remembered(client: Any) -> None:
    client.post("/", content=b"a=%C3%A9", headers={"Content-Type": "application/x-www-form-urlencoded; charset=not-1"})
    client.get("/", headers={"X-Word": "=?not-2?q?a?="})
    assert not {"not_1", "not_2"} & {*encodings._cache}


@pytest.mark.parametrize(
    "value", ["=?x?q?a?=", "=?utf-8?b?a?=", "=?utf-8?q?=FF?=", "=?punycode?q?a?=", "=?utf-8?q?a?= " * 101]
)
def test_a_word_that_can_not_be_decoded_stays_as_it_is(client: Any, value: str) -> None:
    assert decode_TEXT(value) == value
    answer = client.get("/", headers={"X-Word": value.strip()})
    assert (answer.status_code, repr(value.strip()) in answer.text) == (200, True)


def test_words_are_decoded() -> None:
    assert decode_TEXT("=?utf-8?q?=C3=A9?= and =?koi8-r?b?wQ==?=") == "é and а"
    assert decode_TEXT("plain") == "plain"


def test_a_place_in_an_image_is_a_small_number(client: Any) -> None:
    """``int`` refuses more than 4300 digits."""
    digits = "9" * 5000
    assert client.get(f"/?{digits},1").text.endswith(f"[('{digits},1', '')])")
    assert parse_query_string("12,3") == {"x": 12, "y": 3}


def test_R28_accents_of_a_long_name_are_left_as_they_are(make_client: MakeClient) -> None:
    """To sort so many of them takes a minute."""
    seen: list[str] = []

    def check(realm: str, user: str, password: str) -> bool:
        seen.append(user)
        return True

    config = {"tools.auth_basic.on": True, "tools.auth_basic.realm": "r", "tools.auth_basic.checkpassword": check}
    client = make_client(ours.Application(Root(), "", {"/": config}))
    for user in ("e\u0301", "e\u0301" + "\u0315\u0300" * 100_000):
        given = base64.b64encode(f"{user}:x".encode()).decode()
        assert client.get("/", headers={"Authorization": f"Basic {given}"}).status_code == 200
    assert seen == [unicodedata.normalize("NFC", "e\u0301"), "e\u0301" + "\u0315\u0300" * 100_000]


def test_R28_the_cache_forgets_what_has_expired(make_client: MakeClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(caching._Current, "cache", None)
    client = make_client(ours.Application(Root(), "", {"/": {"tools.caching.on": True, "tools.caching.delay": -1}}))
    for number in range(3):
        client.get(f"/?a={number}")
        client.get(f"/?a={number}", headers={"Cache-Control": "no-store"})
    cache: Any = caching._Current.cache
    assert (cache._entries, cache._varies) == ({}, {})


def test_R28_the_cache_keeps_no_long_address(make_client: MakeClient) -> None:
    """``maxsize`` counts the bytes of bodies: 1000 addresses of a MiB would be a GiB."""

    class Varying:
        made = 0

        @ours.expose
        def index(self, **values: str) -> str:
            self.made += 1
            ours.response.headers["Vary"] = "X-Choice"
            return str(self.made)

    caching._Current.cache = None
    client = make_client(ours.Application(Varying(), "", {"/": {"tools.caching.on": True}}))
    long = "a" * 8000
    asked = [("/", ""), ("/", ""), ("/", long), ("/", long), (f"/?a={long}", ""), (f"/?a={long}", "")]
    assert [client.get(path, headers={"X-Choice": choice}).text for path, choice in asked] == [*"112345"]
    cache: Any = caching._Current.cache
    assert len(cache._entries) == len(cache._varies) == 1


def test_R50_sessions_in_memory_are_bounded(make_client: MakeClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client without cookies gets a new one with each request."""

    class Counting:
        @ours.expose
        def index(self) -> str:
            ours.session["count"] = ours.session.get("count", 0) + 1
            return str(ours.session["count"])

    monkeypatch.setattr(RamSession, "capacity", 3)
    RamSession.cache.clear()
    app = ours.Application(Counting(), "", {"/": {"tools.sessions.on": True}})
    client, stranger = make_client(app), make_client(app)
    for number in range(1, 6):
        assert client.get("/").text == str(number)  # who comes again stays
        for _ in range(2):
            stranger.cookies.clear()
            assert stranger.get("/").text == "1"
        assert len(RamSession.cache) <= 3


def test_R36_dots_after_a_link_lead_out_of_no_directory(make_client: MakeClient, tmp_path: Path) -> None:
    """The check joins ``link/..`` to nothing; the system goes to the link's target, and from there up."""
    for name in ("files/note.txt", "elsewhere/public/a.txt", "elsewhere/secret.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    (tmp_path / "files" / "link").symlink_to(tmp_path / "elsewhere" / "public")
    config = {"/f": {"tools.staticdir.on": True, "tools.staticdir.dir": str(tmp_path / "files")}}
    client = make_client(ours.Application(Root(), "", config))

    def ask(path: str) -> tuple[int, str]:
        answer = client.get("/", extensions={"target": path.encode()})  # httpx would leave the dots out
        return answer.status_code, answer.text if answer.status_code == 200 else ""

    assert ask("/f/link/a.txt") == (200, "elsewhere/public/a.txt")
    assert ask("/f/link/../secret.txt")[0] == 404
    assert ask("/f/link/../note.txt") == (200, "files/note.txt")
    assert ask("/f/link/../note.txt/")[0] == 404
    assert ask("/f/../elsewhere/secret.txt")[0] == 403


@pytest.mark.parametrize("host", ["a b", "a/b", "a@b", "a, b", "a:99999"])
def test_R14_a_host_that_is_none_gets_into_no_link(client: Any, host: str) -> None:
    assert client.get("/moved", follow_redirects=False).headers["Location"] == "http://testserver/elsewhere"
    assert client.get("/moved", headers={"Host": host}, follow_redirects=False).status_code == 400
    assert client.get("/", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize("section", ["/my_pies", "/my-pies", "/my.pies"])
def test_R12_what_is_configured_for_a_handler_holds_for_every_spelling_of_its_path(
    make_client: MakeClient, section: str
) -> None:
    class Pies:
        @ours.expose
        def index(self) -> str:
            return "all"

        @ours.expose
        def one_pie(self) -> str:
            return "one"

    class Shop:
        my_pies = Pies()

        @ours.expose
        def default(self, *segments: str) -> str:
            return "any"

    asks = {
        "tools.auth_basic.on": True,
        "tools.auth_basic.realm": "r",
        "tools.auth_basic.checkpassword": lambda *_: False,
    }
    app = ours.Application(Shop(), "", {section: asks, "/open-pies": {}})
    client = make_client(app)
    for path in ("/my_pies/", "/my-pies/", "/my.pies/one_pie", "/my~pies/one-pie", "//my-pies//", "/my%2Dpies/"):
        assert client.get("/", extensions={"target": path.encode()}).status_code == 401, path
    assert client.get("/pies").text == "any"
    # Of several sections for one handler, that of the path as it was sent counts most.
    app.merge({"/my+pies": {"tools.auth_basic.on": False}})
    assert client.get("/my+pies/one_pie").text == "one"


@pytest.mark.parametrize("path", ["/cellar", "/cellar/", "//cellar", "/%2Fcellar", "/cellar%2F/"])
def test_R12_middleware_sees_the_path_that_leads_to_the_handler(make_client: MakeClient, path: str) -> None:
    class House:
        @ours.expose
        def cellar(self) -> str:
            return "dark"

    app = ours.Application(House())
    app.native.middlewares.append(Closed("/cellar"))
    client = make_client(app)
    assert client.get("/", extensions={"target": path.encode()}).status_code == 403


@pytest.mark.parametrize("method", ["POST", "post"])
def test_R78_middleware_sees_the_method_that_leads_to_the_handler(make_client: MakeClient, method: str) -> None:
    class Resource:
        exposed = True

        def POST(self) -> str:
            return "changed"

    class ReadOnly(HttpMiddleware):
        def before_request(self, request: Request) -> None:
            if request.method == "POST":
                raise HTTPError(403)

    bottle = Bottle()
    bottle.post("/")(lambda: "changed")
    config = {"/": {"request.dispatch": ours.dispatch.MethodDispatcher()}}
    for app in (bottle, ours.Application(Resource(), "", config)):
        app.native.middlewares.append(ReadOnly())
        client = make_client(app, validate=False)
        request = client.build_request("POST", "/")
        request.method = method  # httpx would send it in capitals
        assert client.send(request).status_code == 403


@pytest.mark.parametrize("has_routes", [True, False])
@pytest.mark.parametrize("path", ["/%C3%A9", "/%E9", "/%E9/"])
def test_R12_middleware_sees_a_path_in_the_charset_in_which_it_is_read(
    make_client: MakeClient, path: str, has_routes: bool
) -> None:
    house = type("House", (), {"\xe9": ours.expose(lambda self: "dark")})
    app = ours.Application(house())
    app.native.middlewares.append(Closed("/\xe9"))
    if has_routes:
        app.native.get("/native")(lambda: "native")
    assert make_client(app).get("/", extensions={"target": path.encode()}).status_code == 403


@pytest.mark.parametrize("text", ['\\" 404 0 "-" "forged', "\\", 'a"b', "it's\\\\"])
def test_R76_no_text_ends_its_quotes_in_the_access_log(
    make_client: MakeClient, caplog: pytest.LogCaptureFixture, text: str
) -> None:
    """CherryPy writes a backslash as it came, so that one before a quote ends the text for a reader of escapes."""
    app = ours.Application(Root())
    with caplog.at_level(logging.INFO):
        make_client(app).get("/", extensions={"target": b"/?%5C"}, headers={"User-Agent": text, "Referer": text})
    lines = [record.getMessage() for record in caplog.records if record.name.startswith("cherrypy.access")]
    quoted = re.findall(r'"((?:[^"\\]|\\.)*)"', lines[0])
    assert [re.sub(r"\\(.)", r"\1", found) for found in quoted[1:]] == [text, text]
