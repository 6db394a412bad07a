"""``compat.cherrypy`` against clients that would stop it, or fill its memory, in each world.

The original is slower.
"""

from __future__ import annotations

import base64
import encodings
import logging
import re
import time
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from micropie import HTTPError, HttpMiddleware, Request
from micropie.sessions import InMemorySessionBackend
from micropie_compat import cherrypy as ours
from micropie_compat.bottle import Bottle
from micropie_compat.cherrypy.lib import auth_digest
from micropie_compat.cherrypy.lib.httputil import decode_TEXT, parse_query_string
from micropie_compat.cherrypy.lib.sessions import RamSession
from tests.support.clients import MakeClient
from tests.support.growth import calling, grows_too_fast

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
    """Unlike in CVE-2024-7592."""
    entry = calling(lambda text: client.get("/", headers={"Cookie": text}))
    assert not grows_too_fast(entry, 'a=1; b="', "\\", '"')
    header = 'a=1; b="' + "\\" * 100 + '"'
    assert client.get("/", headers={"Cookie": header}).text.startswith("(['a', 'b']")
    assert client.get("/", headers={"Cookie": f"a@b=1; {header}"}).status_code == 400


def test_R28_a_cookie_of_equals_signs_takes_linear_time(client: Any) -> None:
    entry = calling(lambda text: client.get("/", headers={"Cookie": text}))
    assert not grows_too_fast(entry, "b=1; a", "=", '"')
    header = "b=1; a" + "=" * 100 + '"'
    assert client.get("/", headers={"Cookie": header}).text.startswith("(['a', 'b']")


@pytest.mark.parametrize(
    "charset", ["punycode", "idna", "undefined", "unicode_escape", "no\\x00name", "a-b-c-d"]
)
def test_R28_a_form_is_only_decoded_with_a_real_text_charset(client: Any, charset: str) -> None:
    """A form in punycode would take quadratic time."""
    kind = {"Content-Type": f'application/x-www-form-urlencoded; charset="{charset}"'}
    answer = client.post("/", content=b"a=" + b"%61" * 1000 + b"-" + b"b" * 2000, headers=kind)
    assert (answer.status_code, len(answer.text)) == (200, 3022)
    assert client.post("/", content=b"a=%FF", headers=kind).status_code == 400


def test_R28_charset_names_are_not_cached(client: Any) -> None:
    client.post(
        "/",
        content=b"a=%C3%A9",
        headers={"Content-Type": "application/x-www-form-urlencoded; charset=not-1"},
    )
    client.get("/", headers={"X-Word": "=?not-2?q?a?="})
    assert not {"not_1", "not_2"} & {*encodings._cache}


@pytest.mark.parametrize(
    "value",
    ["=?x?q?a?=", "=?utf-8?b?a?=", "=?utf-8?q?=FF?=", "=?punycode?q?a?=", "=?utf-8?q?a?= " * 101],
)
def test_an_undecodable_encoded_word_stays_as_it_is(client: Any, value: str) -> None:
    assert decode_TEXT(value) == value
    answer = client.get("/", headers={"X-Word": value.strip()})
    assert (answer.status_code, repr(value.strip()) in answer.text) == (200, True)


def test_encoded_words_are_decoded() -> None:
    assert decode_TEXT("=?utf-8?q?=C3=A9?= and =?koi8-r?b?wQ==?=") == "é and а"
    assert decode_TEXT("plain") == "plain"


def test_a_coordinate_in_an_image_map_is_a_small_number(client: Any) -> None:
    """``int`` refuses more than 4300 digits."""
    digits = "9" * 5000
    assert client.get(f"/?{digits},1").text.endswith(f"[('{digits},1', '')])")
    assert parse_query_string("12,3") == {"x": 12, "y": 3}


def test_R28_accents_in_a_long_name_are_not_normalised(make_client: MakeClient) -> None:
    """To sort them takes time in proportion to the square of their number."""
    seen: list[str] = []

    def check(realm: str, user: str, password: str) -> bool:
        seen.append(user)
        return True

    config = {
        "tools.auth_basic.on": True,
        "tools.auth_basic.realm": "r",
        "tools.auth_basic.checkpassword": check,
    }
    client = make_client(ours.Application(Root(), "", {"/": config}))
    for user in ("e\u0301", "e\u0301" + "\u0315\u0300" * 512):
        given = base64.b64encode(f"{user}:x".encode()).decode()
        assert client.get("/", headers={"Authorization": f"Basic {given}"}).status_code == 200
    assert seen == [unicodedata.normalize("NFC", "e\u0301"), "e\u0301" + "\u0315\u0300" * 512]


def test_R28_the_cache_drops_expired_entries(
    make_client: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ours, "_cache", None, raising=False)
    client = make_client(
        ours.Application(Root(), "", {"/": {"tools.caching.on": True, "tools.caching.delay": -1}})
    )
    for number in range(3):
        client.get(f"/?a={number}")
        client.get(f"/?a={number}", headers={"Cache-Control": "no-store"})
    cache: Any = ours._cache
    assert (cache._entries, cache._varies) == ({}, {})


def test_R28_the_cache_stores_no_long_url(make_client: MakeClient) -> None:
    """``maxsize`` counts the bytes of bodies: 1000 addresses of a MiB would be a GiB."""

    class Varying:
        made = 0

        @ours.expose
        def index(self, **values: str) -> str:
            self.made += 1
            ours.response.headers["Vary"] = "X-Choice"
            return str(self.made)

    vars(ours)["_cache"] = None
    client = make_client(ours.Application(Varying(), "", {"/": {"tools.caching.on": True}}))
    long = "a" * 8000
    asked = [
        ("/", ""),
        ("/", ""),
        ("/", long),
        ("/", long),
        (f"/?a={long}", ""),
        (f"/?a={long}", ""),
    ]
    texts = [client.get(path, headers={"X-Choice": choice}).text for path, choice in asked]
    assert texts == [*"112345"]
    cache: Any = ours._cache
    assert len(cache._entries) == len(cache._varies) == 1


def _text_at(client: Any, target: str) -> str:
    """Return the page at a target that httpx does not tidy up."""
    return str(client.get("/", extensions={"target": target.encode()}).text)


# Two addresses, of which one may be written like the other.
ALIKE = [
    ("/page?name=a", "/page/../page?name=a"),
    ("/page?name=a", "/x/../page?name=a"),
    ("/page?name=a", "/./page?name=a"),
    ("/page?name=a", "/page/.?name=a"),
    ("/page?name=a", "/page%3Fname=a"),
    ("/page?name=a", "/page%3Fname=a?"),
    ("/page?name=a", "//page?name=a"),
    ("/page/a?b", "/page/a%3Fb"),
    ("/page/a/b", "/page/a%2Fb"),
    ("/page", "/page/"),
]


@pytest.mark.parametrize(
    "pair", [pair for one, other in ALIKE for pair in ((one, other), (other, one))]
)
def test_R48_two_urls_are_cached_as_two_pages(
    make_client: MakeClient, monkeypatch: pytest.MonkeyPatch, pair: tuple[str, str]
) -> None:
    """Whoever asks for a page by a name that only looks like another's does not replace it."""

    class Pages:
        @ours.expose
        def page(self, *segments: str, **values: str) -> str:
            return repr(("page", segments, values))

        @ours.expose
        def default(self, *segments: str, **values: str) -> str:
            return repr(("default", segments, values))

    monkeypatch.setattr(ours, "_cache", None, raising=False)
    without = make_client(ours.Application(Pages(), "", {"/": {"tools.trailing_slash.on": False}}))
    expected = [_text_at(without, path) for path in pair]
    config = {"tools.trailing_slash.on": False, "tools.caching.on": True}
    client = make_client(ours.Application(Pages(), "", {"/": config}))
    assert [_text_at(client, path) for path in (*pair, *pair)] == expected * 2


def test_R48_the_cache_distinguishes_a_missing_header_from_an_empty_one(
    make_client: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Varying:
        @ours.expose
        def index(self) -> str:
            ours.response.headers["Vary"] = "X-Choice"
            return repr(ours.request.headers.get("X-Choice"))

    monkeypatch.setattr(ours, "_cache", None, raising=False)
    client = make_client(ours.Application(Varying(), "", {"/": {"tools.caching.on": True}}))
    asked: list[dict[str, str]] = [{}, {"X-Choice": ""}, {}, {"X-Choice": ""}]
    assert [client.get("/", headers=headers).text for headers in asked] == ["None", "''"] * 2


@pytest.mark.parametrize("refused", ["by its size", "by its header"])
def test_R28_a_stream_that_is_not_cached_is_not_collected(
    make_client: MakeClient, monkeypatch: pytest.MonkeyPatch, refused: str
) -> None:
    made, gone, most = 0, 0, 0

    class Piece(bytes):
        def __del__(self) -> None:
            nonlocal gone
            gone += 1

    class Long:
        @ours.expose
        def index(self) -> Any:
            ours.response.stream = True
            if refused == "by its header":
                ours.response.headers["Cache-Control"] = "private"

            def pieces() -> Any:
                nonlocal made, most
                for _ in range(300):
                    made += 1
                    yield Piece(b"x" * (1000 if refused == "by its header" else 10_000))
                    most = max(most, made - gone)

            return pieces()

    monkeypatch.setattr(ours, "_cache", None, raising=False)
    client = make_client(ours.Application(Long(), "", {"/": {"tools.caching.on": True}}))
    with client.stream("GET", "/") as response:
        assert sum(len(piece) for piece in response.iter_bytes()) >= 300_000
    assert made == 300
    assert most < 150


def test_R50_the_number_of_sessions_in_memory_is_bounded(
    make_client: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
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


@pytest.mark.parametrize("kind", ["backend", "ram", "file"])
def test_R50_a_session_s_size_is_limited(
    make_client: MakeClient, tmp_path: Path, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    class Kept:
        @ours.expose
        def index(self, name: str = "") -> str:
            names = ours.session.setdefault("names", [])
            if name:
                ours.session["names"] = names
                names.append(name)
            return str(len(names))

    storage: dict[str, dict[str, object]] = {
        "backend": {"tools.sessions.backend": InMemorySessionBackend()},
        "ram": {},
        "file": {
            "tools.sessions.storage_type": "file",
            "tools.sessions.storage_path": str(tmp_path),
        },
    }
    settings = {"tools.sessions.on": True, "tools.sessions.max_session_size": 100, **storage[kind]}
    client = make_client(ours.Application(Kept(), "", {"/": settings}), raise_app_exceptions=False)
    assert [client.get(f"/?name={'a' * 20}").text for _ in range(3)] == ["1", "2", "3"]
    assert client.get(f"/?name={'a' * 20}").status_code == 500
    assert (
        "because it has 103 bytes, 103 of them in 'names', and tools.sessions.max_session_size = 100"
        in caplog.text
    )
    assert client.get("/").text == ("0" if kind == "ram" else "3")


def test_R36_dot_segments_after_a_link_cannot_leave_the_directory(
    make_client: MakeClient, tmp_path: Path
) -> None:
    """The check joins ``link/..`` to nothing; the system goes to the link's target, and from there
    up.
    """
    for name in ("files/note.txt", "elsewhere/public/a.txt", "elsewhere/secret.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    (tmp_path / "files" / "link").symlink_to(tmp_path / "elsewhere" / "public")
    config = {"/f": {"tools.staticdir.on": True, "tools.staticdir.dir": str(tmp_path / "files")}}
    client = make_client(ours.Application(Root(), "", config))

    def ask(path: str) -> tuple[int, str]:
        # httpx would leave the dots out
        answer = client.get("/", extensions={"target": path.encode()})
        return answer.status_code, answer.text if answer.status_code == 200 else ""

    assert ask("/f/link/a.txt") == (200, "elsewhere/public/a.txt")
    assert ask("/f/link/../secret.txt")[0] == 404
    assert ask("/f/link/../note.txt") == (200, "files/note.txt")
    assert ask("/f/link/../note.txt/")[0] == 404
    assert ask("/f/../elsewhere/secret.txt")[0] == 403


@pytest.mark.parametrize("host", ["a b", "a/b", "a@b", "a, b", "a:99999"])
def test_R14_an_invalid_host_never_gets_into_a_link(client: Any, host: str) -> None:
    header = client.get("/moved", follow_redirects=False).headers["Location"]
    assert header == "http://testserver/elsewhere"
    assert client.get("/moved", headers={"Host": host}, follow_redirects=False).status_code == 400
    assert client.get("/", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize("section", ["/my_pies", "/my-pies", "/my.pies"])
def test_R12_a_handler_s_configuration_applies_to_every_spelling_of_its_path(
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
    for path in (
        "/my_pies/",
        "/my-pies/",
        "/my.pies/one_pie",
        "/my~pies/one-pie",
        "//my-pies//",
        "/my%2Dpies/",
    ):
        assert client.get("/", extensions={"target": path.encode()}).status_code == 401, path
    assert client.get("/pies").text == "any"
    # Of several sections for one handler, that of the path as it was sent counts most.
    app.merge({"/my+pies": {"tools.auth_basic.on": False}})
    assert client.get("/my+pies/one_pie").text == "one"


@pytest.mark.parametrize("path", ["/cellar", "/cellar/", "//cellar", "/%2Fcellar", "/cellar%2F/"])
def test_R12_middleware_sees_the_path_that_is_routed(make_client: MakeClient, path: str) -> None:
    class House:
        @ours.expose
        def cellar(self) -> str:
            return "dark"

    app = ours.Application(House())
    app.native.middlewares.append(Closed("/cellar"))
    client = make_client(app)
    assert client.get("/", extensions={"target": path.encode()}).status_code == 403


@pytest.mark.parametrize("method", ["POST", "post"])
def test_R78_middleware_sees_the_method_being_routed(make_client: MakeClient, method: str) -> None:
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
def test_R12_middleware_sees_a_path_decoded_with_the_routing_charset(
    make_client: MakeClient, path: str, has_routes: bool
) -> None:
    house = type("House", (), {"\xe9": ours.expose(lambda self: "dark")})
    app = ours.Application(house())
    app.native.middlewares.append(Closed("/\xe9"))
    if has_routes:
        app.native.get("/native")(lambda: "native")
    assert make_client(app).get("/", extensions={"target": path.encode()}).status_code == 403


@pytest.mark.parametrize("text", ['\\" 404 0 "-" "forged', "\\", 'a"b', "it's\\\\"])
def test_R76_client_text_cannot_end_its_quotes_in_the_access_log(
    make_client: MakeClient, caplog: pytest.LogCaptureFixture, text: str
) -> None:
    """CherryPy writes a backslash as it came, so that one before a quote ends the text for a reader
    of escapes.
    """
    app = ours.Application(Root())
    with caplog.at_level(logging.INFO):
        make_client(app).get(
            "/", extensions={"target": b"/?%5C"}, headers={"User-Agent": text, "Referer": text}
        )
    lines = [
        record.getMessage()
        for record in caplog.records
        if record.name.startswith("cherrypy.access")
    ]
    quoted = re.findall(r'"((?:[^"\\]|\\.)*)"', lines[0])
    assert [re.sub(r"\\(.)", r"\1", found) for found in quoted[1:]] == [text, text]


class Reasons:
    """What a handler says in a status, in its place for a reason."""

    @ours.expose
    def error(self, text: str) -> None:
        raise ours.HTTPError(f"400 No such pie: {text}")

    @ours.expose
    def answer(self, text: str) -> str:
        ours.response.status = f"201 {text}"
        return "made"


@pytest.mark.parametrize("path", ["/error", "/answer"])
def test_R1_a_reason_phrase_cannot_add_a_header(make_client: MakeClient, path: str) -> None:
    client = make_client(ours.Application(Reasons()), validate=False)
    for text in ("a\r\nSet-Cookie: session_id=evil\r\n\r\n<script>", "a\nb", "a\0b"):
        answer = client.get(path, params={"text": text})
        assert answer.status_code == 500
        assert "set-cookie" not in answer.headers
        assert "<script>" not in answer.text
    assert client.get(path, params={"text": "caf\u00e9 \u20ac\t"}).status_code in (400, 201)


def test_a_traceback_is_shown_on_this_machine_only(make_client: MakeClient) -> None:
    class Failing:
        _cp_config = {"request.show_tracebacks": True}

        @ours.expose
        def index(self) -> None:
            raise KeyError("the secret")

    client = make_client(ours.Application(Failing()))
    assert "the secret" not in client.get("/").text
    text = client.get("/", headers={"Host": "localhost", "X-Forwarded-For": "203.0.113.9"}).text
    assert "the secret" not in text
    assert "the secret" in client.get("/", headers={"Host": "localhost"}).text


class Deep:
    """Answers any path."""

    @ours.expose
    def default(self, *segments: str) -> str:
        return str(len(segments))


def test_R28_a_path_of_too_many_segments_gets_a_404(make_client: MakeClient) -> None:
    """With configuration each of them would take time in proportion to the path."""
    sections = {"/": {"tools.etags.on": False}, "/a/b": {"tools.etags.autotags": True}}
    client = make_client(ours.Application(Deep(), "", sections))
    assert client.get("/a" * 255).text == "255"
    assert client.get("/a" * 256).status_code == 404


def test_a_configuration_section_applies_to_the_paths_below_it() -> None:
    sections = {
        "/": {"key": "root"},
        "/a": {"key": "a"},
        "/a/b": {"other": "b"},
        "/ab/": {"key": "never"},
    }
    app = ours.Application(Deep(), "", sections)
    paths = ["/", "", "/a", "/a/b/c", "/ab", "/ab/c", "/a/"]
    found = [app.find_config(path, "key") for path in paths]
    assert found == ["root", "root", "a", "a", "root", "root", "a"]
    assert app.find_config("/a/b", "none", "default") == "default"


def test_R28_an_application_is_found_by_the_longest_prefix(make_client: MakeClient) -> None:
    tree = ours._cptree.Tree()
    assert tree.script_name("/x") is None
    for path in ("", "/a", "/a/b"):
        tree.mount(Deep(), path)
    found = [tree.script_name(path) for path in ("/", "/a", "/ab", "/a/b/c", "/a/c")]
    assert found == ["", "/a", "", "/a/b", "/a"]
    assert tree.script_name("/a" * 500) == "/a"
    assert not grows_too_fast(calling(tree.script_name, times=20), "", "/a", "")


class Documents:
    """Takes JSON of any size, and of 1,000 bytes."""

    @ours.expose
    @ours.tools.json_in()
    def usual(self) -> str:
        return str(len(ours.request.json))

    @ours.expose
    @ours.tools.json_in(max_data_size=1000)
    def small(self) -> str:
        return str(len(ours.request.json))


def test_R18_a_json_body_has_a_size_limit(make_client: MakeClient) -> None:
    client = make_client(ours.Application(Documents()))
    kind = {"Content-Type": "application/json"}
    for path, most in (("/usual", 2_621_440), ("/small", 1000)):
        assert client.post(path, content=b"[" + b" " * (most - 2) + b"]", headers=kind).text == "0"
        refused = client.post(
            path, content=b"[" + b"[],[]," * (most // 6 + 1) + b"[]]", headers=kind
        )
        assert (refused.status_code, f"{most} bytes" in refused.text) == (413, True)


@pytest.fixture
def cached(make_client: MakeClient, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A site whose pages are kept, with a session and a log-in."""
    monkeypatch.setattr(ours, "_cache", None, raising=False)

    class Pages:
        @ours.expose
        def page(self, name: str = "nobody") -> str:
            return f"hello {name}"

        @ours.expose
        def mine(self) -> str:
            ours.session["visits"] = ours.session.get("visits", 0) + 1
            return f"visit {ours.session['visits']}"

        @ours.expose
        def private(self) -> str:
            return f"hello {ours.request.login}"

    log_in = {
        "tools.auth_basic.on": True,
        "tools.auth_basic.realm": "r",
        "tools.auth_basic.checkpassword": lambda realm, user, password: True,
    }
    sections = {"/": {"tools.caching.on": True, "tools.sessions.on": True}, "/private": log_in}
    return make_client(ours.Application(Pages(), "", sections))


def test_R48_a_response_to_patch_is_not_cached(cached: Any) -> None:
    assert cached.patch("/page", data={"name": "<script>"}).text == "hello <script>"
    assert cached.get("/page").text == "hello nobody"
    assert cached.options("/page").text == "hello nobody"


def test_R48_a_response_to_a_request_with_credentials_is_not_cached(cached: Any) -> None:
    assert cached.get("/private", auth=("alice", "x")).text == "hello alice"
    assert cached.get("/private", auth=("bob", "x")).text == "hello bob"


def test_R48_a_response_made_from_a_session_is_not_cached(cached: Any) -> None:
    assert [cached.get("/mine").text for _ in range(2)] == ["visit 1", "visit 2"]


class Signed:
    """Pages behind a digest log-in."""

    _cp_config = {
        "tools.auth_digest.on": True,
        "tools.auth_digest.realm": "here",
        "tools.auth_digest.get_ha1": auth_digest.get_ha1_dict_plain({"ann": "secret"}),
        "tools.auth_digest.key": "k",
    }

    @ours.expose
    def default(self, *segments: str, **values: str) -> str:
        return str(ours.request.login)


@pytest.mark.parametrize(
    ("path", "uri", "status"),
    [
        ("/echo", "/echo", 200),
        ("/caf%C3%A9?q=1", "/caf%c3%a9?q=1", 200),
        ("/delete", "/echo", 401),
        ("/echo?all=yes", "/echo", 401),
    ],
)
def test_a_digest_response_is_only_valid_for_the_signed_uri(
    make_client: MakeClient, path: str, uri: str, status: int
) -> None:
    nonce, ha1 = auth_digest.synthesize_nonce("here", "k"), auth_digest.H("ann:here:secret")
    response = auth_digest.H(f"{ha1}:{nonce}:{auth_digest.H(f'GET:{uri}')}")
    header = (
        f'Digest username="ann", realm="here", nonce="{nonce}", uri="{uri}", response="{response}"'
    )
    client = make_client(ours.Application(Signed()))
    assert client.get(path, headers={"Authorization": header}).status_code == status


def test_R14_a_host_set_by_a_proxy_must_be_a_valid_host(make_client: MakeClient) -> None:
    class Links:
        _cp_config = {"tools.proxy.on": True}

        @ours.expose
        def index(self) -> str:
            return str(ours.url("/x"))

    client = make_client(ours.Application(Links()))
    for headers in (
        {"X-Forwarded-Host": 'evil"><script>'},
        {"X-Forwarded-Host": '"><script>alert(1)</script>://x'},
        {"X-Forwarded-Host": "javascript://x"},
        {"X-Forwarded-Host": "https://x/?://y"},
        {"X-Forwarded-Proto": "https://evil.example/?"},
        {"X-Forwarded-Proto": "javascript"},
        {"X-Forwarded-Proto": "http\xa0"},
    ):
        given = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
        assert client.get("/", headers=given).status_code == 400
    for headers, link in (
        ({"X-Forwarded-Host": "https://shop.example:8443"}, "https://shop.example:8443/x"),
        ({"X-Forwarded-Host": "HTTPS://shop.example"}, "https://shop.example/x"),
        ({"X-Forwarded-Proto": " HTTPS\t, http"}, "https://testserver/x"),
        ({"X-Forwarded-Proto": "", "X-Forwarded-Host": ""}, "http://testserver/x"),
    ):
        assert client.get("/", headers=headers).text == link


def test_R48_a_page_made_from_a_session_is_cached_for_one_visitor(make_client: MakeClient) -> None:
    class Pages:
        _cp_config = {"tools.sessions.on": True}

        @ours.expose
        def mine(self, vary: str = "") -> str:
            if vary:
                ours.response.headers.update({"Vary": vary, "Cache-Control": "no-store"})
            return str(ours.session.get("name"))

        @ours.expose
        def public(self) -> str:
            return "x"

    client = make_client(ours.Application(Pages()), base_url="https://testserver")
    mine, stated, public = (
        client.get("/mine"),
        client.get("/mine?vary=Accept"),
        client.get("/public"),
    )
    assert (mine.headers["vary"], mine.headers["cache-control"]) == ("Cookie", "private")
    assert stated.headers["vary"] == "Accept, Cookie"
    assert stated.headers["cache-control"] == "no-store"
    assert not {"vary", "cache-control"} & public.headers.keys()
    assert "; Secure" in public.headers["set-cookie"]


def test_a_character_of_a_download_s_name_never_becomes_a_quote(
    make_client: MakeClient, tmp_path: Path
) -> None:
    (tmp_path / "a.txt").write_text("a")

    class Files:
        @ours.expose
        def index(self, name: str) -> Any:
            return ours.lib.static.serve_file(
                str(tmp_path / "a.txt"), disposition="attachment", name=name
            )

    client = make_client(ours.Application(Files(), "").native)
    header = client.get("/?name=%EF%BC%82").headers["Content-Disposition"]  # to NFKD
    assert header == "attachment; filename=\"_\"; filename*=UTF-8''%EF%BC%82"


@pytest.mark.parametrize(
    "look",
    [
        lambda request: request.headers["Cookie"],
        lambda request: request.headers.get(b"cookie"),
        lambda request: "cookie" in request.headers and "with a cookie",
        lambda request: request.headers.elements("Cookie"),
        lambda request: request.headers.pop("Cookie"),
        lambda request: dict(request.headers),
        lambda request: request.headers.copy(),
        lambda request: {**request.headers},
        lambda request: {name for name in request.headers if name == "Cookie"},
        lambda request: [*request.headers.items()],
        lambda request: [*request.headers.values()],
        lambda request: request.header_list,
        lambda request: request.wsgi_environ["HTTP_COOKIE"],
        lambda request: request.cookie,
    ],
)
@pytest.mark.parametrize("varies", [False, True])
def test_R48_the_cache_stores_no_page_made_from_a_cookie(
    make_client: MakeClient,
    monkeypatch: pytest.MonkeyPatch,
    look: Callable[[Any], object],
    varies: bool,
) -> None:
    class Page:
        made = 0

        @ours.expose
        def index(self, looks: str = "") -> str:
            self.made += 1
            return f"{self.made} {look(ours.request) if looks else ''}"

    monkeypatch.setattr(ours, "_cache", None, raising=False)
    config = {"tools.caching.on": True, "tools.autovary.on": varies}
    client = make_client(ours.Application(Page(), "", {"/": config}))
    own = {"Cookie": "name=ann"}
    pages = [client.get(path, headers=own).text[0] for path in ("/?looks=1", "/?looks=1", "/", "/")]
    assert pages == ["1", "2", "3", "3"]


def test_R48_the_cache_stores_no_response_to_HEAD(
    make_client: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Page:
        @ours.expose
        def index(self) -> str:
            return f"for {ours.request.method}"

    monkeypatch.setattr(ours, "_cache", None, raising=False)
    monkeypatch.setattr(time, "time", lambda: 1_800_000_000.0)
    client = make_client(ours.Application(Page(), "", {"/": {"tools.caching.on": True}}))
    client.head("/")
    assert client.get("/").text == "for GET"
    assert client.head("/").headers["age"] == "0"
