"""Targets for ``micropie_compat``: whole requests by both protocols, and parsers beside those of
the originals.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import bottle as original_bottle
from cherrypy.lib import auth_digest as original_digest
from cherrypy.lib import httputil as original_httputil

from micropie._core.http.body.received import ReceivedBody
from micropie_compat import bottle, cherrypy
from micropie_compat.bottle.cookies import _signature, cookie_decode, cookie_encode
from micropie_compat.bottle.files import parse_range_header
from micropie_compat.bottle.requests import parse_auth, path_shift
from micropie_compat.bottle.responses import parse_date
from micropie_compat.bottle.templates import BaseTemplate
from micropie_compat.cherrypy.lib import auth_basic, auth_digest, httputil
from micropie_compat.core import Limits
from tests.project.fuzz.exchanges import TOKEN, ask_both, lines_of, served_tree, without_values
from tests.project.fuzz.parsers import attempt, fields_of, latin

_SECRET = "a key of thirty-two bytes or more"
_METHODS = {b"": "GET", b"P": "POST", b"H": "HEAD"}

# Pages whose answers are not the same twice.
_CHANGING = ("/cached", "/digest", "/counted")


def _ask(app: Any, data: bytes) -> None:
    """Send a request to an application: it is answered, the same way by both protocols, and is no
    failure.
    """
    method, target, head, body = fields_of(data, 4)
    target = b"/" + re.sub(rb"[\x00-\x20\x7f#]", b"", target)
    given = _METHODS.get(method, latin(method))
    if not TOKEN.fullmatch(given.encode("latin-1")):
        return
    first, second = ask_both(app, given, target, lines_of(head), body)
    assert max(first[0], second[0]) < 500, (first, second)
    kind = dict(first[1]).get("content-type", "")
    # whose boundary is new
    if not latin(target).startswith(_CHANGING) and not kind.startswith("multipart/byteranges"):
        assert (first[0], first[2]) == (second[0], second[2])
        assert without_values(first[1]) == without_values(second[1])
    for name, value in (*first[1], *second[1]):
        assert re.fullmatch(r"[\t\x20-\x7e\x80-\xff]*", value), (name, value)


# -- micropie_compat.cherrypy ----------------------------------------------------------------------


class Documents:
    @cherrypy.expose
    @cherrypy.tools.json_in(force=False)
    @cherrypy.tools.json_out()
    def document(self, **values: Any) -> Any:
        return getattr(cherrypy.request, "json", None)


def _told(values: dict[str, Any]) -> list[tuple[str, list[object]]]:
    """Return the parameters of a page, files by their names, because their repr has an address."""
    lists = {name: one if isinstance(one, list) else [one] for name, one in values.items()}
    return sorted(
        (name, [getattr(one, "filename", one) for one in found]) for name, found in lists.items()
    )


class _Root(Documents):
    _cp_config: ClassVar = {"request.show_tracebacks": False, "tools.proxy.on": True}

    @cherrypy.expose
    def index(self, *args: str, **values: Any) -> str:
        headers = cherrypy.request.headers
        wanted = [
            str(element)
            for name in ("Accept", "Cookie", "X-Token")
            for element in headers.elements(name)
        ]
        return repr((args, _told(values), sorted(cherrypy.request.cookie), wanted))

    @cherrypy.expose
    def uploaded(self, **values: Any) -> str:
        return repr(_told(values))

    @cherrypy.expose
    @cherrypy.tools.sessions()
    def counted(self) -> str:
        cherrypy.session["count"] = count = cherrypy.session.get("count", 0) + 1
        return str(count)

    @cherrypy.expose
    @cherrypy.tools.caching(antistampede_timeout=None)
    @cherrypy.tools.gzip()
    def cached(self, **values: Any) -> str:
        return repr(sorted(values))

    @cherrypy.expose
    @cherrypy.tools.etags(autotags=True)
    @cherrypy.tools.accept(media=["text/html", "application/json"])
    def tagged(self) -> str:
        return "tagged"

    @cherrypy.expose
    def moved(self, to: str = "/") -> None:
        raise cherrypy.HTTPRedirect(to)


def _knows(realm: str, user: str, password: str) -> bool:
    return user == password


@cache
def cherrypy_site() -> Any:
    cherrypy.config.update({"log.screen": False, "checker.on": False})
    config = {
        "/files": {"tools.staticdir.on": True, "tools.staticdir.dir": served_tree()},
        "/basic": {
            "tools.auth_basic.on": True,
            "tools.auth_basic.realm": "r",
            "tools.auth_basic.checkpassword": _knows,
        },
        "/digest": {
            "tools.auth_digest.on": True,
            "tools.auth_digest.realm": "r",
            "tools.auth_digest.key": _SECRET,
            "tools.auth_digest.get_ha1": auth_digest.get_ha1_dict_plain({"a": "b"}),
        },
    }
    return cherrypy.Application(_Root(), "", config)


def cherrypy_request(data: bytes) -> None:
    """``micropie_compat.cherrypy``: forms, JSON, cookies, tools and files."""
    _ask(cherrypy_site(), data)


_PLAIN_ELEMENTS = re.compile(
    r"[a-z/*-]+(?:;[a-z]+=[a-z0-9.]+)*(?:, ?[a-z/*-]+(?:;[a-z]+=[a-z0-9.]+)*)*"
)


def cherrypy_headers(data: bytes) -> None:
    """Headers are read as by CherryPy where they are plain, and no other one is an error."""
    text = latin(data)
    for name in ("Accept", "X-Token"):
        elements = httputil.header_elements(name, text)
        [str(element) for element in elements]
        assert all(0 <= element.qvalue <= 1 for element in elements if name == "Accept")
        if _PLAIN_ELEMENTS.fullmatch(text):
            # of a weight that is no number
            with suppress(ValueError, original_httputil.cherrypy.HTTPError):
                theirs = original_httputil.header_elements(name, text)
                if name != "Accept" or all(0 <= element.qvalue <= 1 for element in theirs):
                    assert sorted(map(str, elements)) == sorted(map(str, theirs))
    decoded = httputil.decode_TEXT(text)
    with suppress(Exception):  # of its charsets
        assert decoded in (original_httputil.decode_TEXT(text), text)
    assert not re.search(rb"[\x00-\x08\x0a-\x1f\x7f]", httputil.HeaderMap.encode(decoded))
    ranges = httputil.get_ranges(text, 100)
    assert all(0 <= start < stop <= 100 for start, stop in ranges or ())
    if re.fullmatch(r"bytes=[0-9]{1,9}-[0-9]{0,9}(?:,[0-9]{1,9}-[0-9]{0,9})*", text):
        assert ranges == original_httputil.get_ranges(text, 100) or "-" in text.rpartition(",")[2]
    with suppress(UnicodeDecodeError):
        values = httputil.parse_query_string(text)
        if ";" not in text and not re.match("[0-9]+,[0-9]", text):
            assert values == original_httputil.parse_query_string(text)
    with suppress(ValueError):
        assert 100 <= httputil.valid_status(text)[0] <= 599


_PLAIN_DIGEST = re.compile(
    r'Digest [a-z]+=(?:"[a-z0-9:/]*"|[a-zA-Z0-9]+)(?:, [a-z]+=(?:"[a-z0-9:/]*"|[a-zA-Z0-9]+))*'
)


def cherrypy_logins(data: bytes) -> None:
    """A log-in is read as by CherryPy, and no answer to a nonce of another's is right."""
    text = latin(data)
    auth_basic._decoded(data, "utf-8")
    with suppress(ValueError):
        ours = auth_digest.HttpDigestAuthorization(text, "GET")
        ours.request_digest("0" * 32)
        assert not ours.validate_nonce("r", _SECRET)
        if _PLAIN_DIGEST.fullmatch(text):
            theirs = original_digest.HttpDigestAuthorization(text, "GET")
            for name in (
                "username",
                "realm",
                "nonce",
                "uri",
                "response",
                "algorithm",
                "qop",
                "cnonce",
                "nc",
            ):
                assert getattr(ours, name) == getattr(theirs, name)
            assert ours.request_digest("0" * 32) == theirs.request_digest("0" * 32)


# -- micropie_compat.bottle ------------------------------------------------------------------------


@cache
def bottle_site() -> Any:
    app = bottle.Bottle()

    @app.route("/", method=["GET", "POST"])
    def index() -> Any:
        request = bottle.request
        signed = request.get_cookie("signed", "none", secret=_SECRET)
        return repr(
            (
                sorted(request.query),
                sorted(request.cookies),
                request.auth,
                signed,
                request.is_xhr,
                request.url,
            )
        )

    @app.post("/form")
    def form() -> Any:
        request = bottle.request
        return repr(
            (
                sorted(request.forms),
                [file.filename for file in request.files.values()],
                len(request.params),
            )
        )

    @app.post("/document")
    def document() -> Any:
        return {"document": bottle.request.json}

    @app.get("/files/<name:path>")
    def files(name: str) -> Any:
        return bottle.static_file(name, served_tree())

    @app.get("/wild/<number:int>/<part:float>/<word:re:[a-z]+>")
    def wild(number: int, part: float, word: str) -> Any:
        return repr((number, part, word))

    @app.get("/moved")
    def moved() -> Any:
        bottle.redirect(bottle.request.query.to or "/")

    @app.get("/set")
    def set_() -> Any:
        with suppress(ValueError):  # of a value that no cookie may have
            bottle.response.set_cookie("a", bottle.request.query.to)
        return "set"

    return app


def bottle_request(data: bytes) -> None:
    """``micropie_compat.bottle``: forms, JSON, cookies, wildcards and files."""
    _ask(bottle_site(), data)


def bottle_values(data: bytes) -> None:
    """Log-ins, dates, ranges, paths, signed cookies and names of templates, beside the
    original's.
    """
    text = latin(data)
    found = parse_auth(text)
    with suppress(Exception):  # the original fails for some
        theirs = original_bottle.parse_auth(text)
        assert theirs is None or found == theirs
    moment = parse_date(text)
    if moment is not None:
        assert moment == original_bottle.parse_date(text)
    ranges = [*parse_range_header(text, 100)]
    assert all(0 <= start < stop <= 100 for start, stop in ranges)
    if re.fullmatch(r"bytes=[0-9-]+(?:,[0-9-]+)*", text):
        assert (
            ranges == [*original_bottle.parse_range_header(text, 100)]
            or "--" in text
            or "=-" in text
            or ",-" in text
        )
    first, _, second = text.partition(" ")
    for shift in (-1, 0, 1):
        with suppress(AssertionError):
            path_shift(f"/{first}", f"/{second}", shift)
    # Whoever knows the secret may send any pickle. It runs no code.
    name, raw = data[:1].decode("latin-1"), base64.b64encode(data)
    cookie_decode(b"!" + _signature(raw, _SECRET, "sha256") + b"?" + raw, _SECRET)
    assert cookie_decode(text, _SECRET) is None
    signed = cookie_encode([name, text], _SECRET)
    assert cookie_decode(signed, _SECRET) == [name, text]
    request = bottle.BaseRequest({"HTTP_COOKIE": f'a="{signed.decode()}"'})
    assert request.get_cookie("a", secret=_SECRET) == (text if name == "a" else None)
    with suppress(UnicodeError):
        path = attempt(
            BaseTemplate.search, data.decode("utf-8", "surrogateescape"), [served_tree()]
        )
        assert path is None or Path(str(path)).is_relative_to(served_tree())


def moved_request(data: bytes) -> None:
    """``micropie_compat.bottle`` reads a query, a form, cookies and JSON as the original does, and fails as
    little.
    """
    raw_query, raw_cookie, kind, body = fields_of(data, 4)
    kinds = {
        b"": "application/x-www-form-urlencoded",
        b"j": "application/json",
        b"m": "multipart/form-data; boundary=B",
    }

    def environ() -> dict[str, Any]:
        return {
            "QUERY_STRING": latin(raw_query),
            "HTTP_COOKIE": latin(raw_cookie),
            "CONTENT_TYPE": kinds.get(kind, latin(kind)),
            "CONTENT_LENGTH": str(len(body)),
            "wsgi.input": BytesIO(body),
            "REQUEST_METHOD": "POST",
        }

    native = _Releasing()
    ours, theirs = (
        bottle.BaseRequest({**environ(), "micropie.exchange": native}),
        original_bottle.BaseRequest(environ()),
    )
    try:
        for name in ("query", "cookies", "forms", "json", "files"):
            status, found = _asked(ours, name, bottle.HTTPError)
            assert status in (200, 400, 413), found
            if name in ("query", "json") and status == 200:
                other_status, other = _asked(theirs, name, original_bottle.HTTPError)
                assert found == other or other_status != 200, (name, found, other)
    finally:
        for release in native.releases:
            release()


class _Releasing:
    """What ``micropie_compat.bottle`` asks of the native exchange: to close files with it, and how
    many parts a form may have.

    No form has been received.
    """

    def __init__(self) -> None:
        self.body = ReceivedBody()
        self.config = SimpleNamespace(limits=Limits())
        self.releases: list[Callable[[], object]] = []

    def release_after(self, release: Callable[[], object]) -> None:
        self.releases.append(release)


def _asked(request: Any, name: str, error_type: type[Exception]) -> tuple[int, object]:
    try:
        found = getattr(request, name)
        if name not in ("query", "forms"):
            return 200, repr(found)
        return 200, sorted((_text_of(key), _text_of(value)) for key, value in found.allitems())
    except error_type as error:
        return error.status_code, error  # type: ignore[attr-defined]
    except Exception as error:
        if error_type is bottle.HTTPError:
            raise
        return 500, error


def _text_of(value: object) -> str:
    """Return a value of a form as text.

    The original leaves UTF-8 as it came, as latin-1; ours has decoded it.
    """
    text = str(value)
    try:
        return text.encode("latin-1").decode()
    except UnicodeError:
        return text
