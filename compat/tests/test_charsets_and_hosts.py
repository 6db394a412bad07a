"""Forms in other charsets than UTF-8, hosts with applications of their own, rare methods, a guard
around all.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

import pytest

import micropie
from compat.tests.asking import digest
from compat.tests.conftest import Serve
from compat.tests.exchange import Answer
from micropie.middleware import CSRFMiddleware, csrf_token
from micropie.testing import TestClient
from micropie_compat import bottle as our_bottle
from micropie_compat import cherrypy as ours
from tests.support.clients import MakeClient

FORM = {"Content-Type": "application/x-www-form-urlencoded"}


def post_fields(
    client: TestClient, path: str, *fields: tuple[str, str, bytes], of_form: str = ""
) -> Any:
    """Send a form of these fields; each is a name, a media type or "", and its bytes."""
    body = b""
    for name, kind, data in fields:
        head = f'--x\r\nContent-Disposition: form-data; name="{name}"\r\n'
        body += (
            (head + (f"Content-Type: {kind}\r\n" if kind else "") + "\r\n").encode()
            + data
            + b"\r\n"
        )
    headers = {"Content-Type": f"multipart/form-data; boundary=x{of_form}"}
    return client.post(path, content=body + b"--x--\r\n", headers=headers)


# -- CherryPy --------------------------------------------------------------------------------------


def form_app(cherrypy: Any) -> Any:
    class Root:
        @cherrypy.expose
        def plain(self, **fields: Any) -> str:
            return f"{sorted(fields.items())} {cherrypy.request.body.charset}"

        @cherrypy.expose
        @cherrypy.config(**{"request.body.attempt_charsets": ["utf-8", "latin-1"]})
        def tried(self, **fields: Any) -> str:
            return f"{sorted(fields.items())} {cherrypy.request.body.charset}"

        @cherrypy.expose
        @cherrypy.config(**{"tools.decode.on": True, "tools.decode.encoding": "utf-16"})
        def tool(self, **fields: Any) -> str:
            return f"{sorted(fields.items())} {cherrypy.request.body.charset}"

        @cherrypy.expose
        @cherrypy.config(**{"hooks.before_request_body": lambda: keep_parts(cherrypy)})
        def parts(self) -> str:
            parts = cherrypy.request.body.parts
            return str(
                [
                    (part.name, part.value, part.attempt_charsets, part.fullvalue(), part.charset)
                    for part in parts
                ]
            )

    return cherrypy.Application(Root(), "")


def keep_parts(cherrypy: Any) -> None:
    body = cherrypy.serving.request.body
    body.processors = {"multipart": cherrypy._cpreqbody.process_multipart}


def test_a_form_field_is_decoded_with_the_charset_of_its_part(cherrypy: Any, serve: Serve) -> None:
    client = serve(form_app(cherrypy))
    latin = ("a", "text/plain; charset=iso-8859-1", b"\xe9")
    wide = ("b", "text/plain; charset=utf-16", "é".encode("utf-16"))
    text = post_fields(client, "/plain", latin, wide, ("c", "", "é".encode())).text
    assert text == "[('a', 'é'), ('b', 'é'), ('c', 'é')] None"
    assert post_fields(client, "/parts", latin, ("c", "", b"c")).text == str(
        [
            ("a", b"\xe9", ["iso-8859-1", "us-ascii", "utf-8"], "é", "iso-8859-1"),
            ("c", b"c", ["us-ascii", "utf-8"], "c", "us-ascii"),
        ]
    )


def test_a_form_field_that_no_charset_decodes_gets_a_400(cherrypy: Any, serve: Serve) -> None:
    """``_charset_`` is a field like any other for CherryPy, and the body's charsets are none of its
    parts'.
    """
    client = serve(form_app(cherrypy))
    for path in ("/plain", "/tried", "/tool"):
        answer = post_fields(client, path, ("_charset_", "", b"iso-8859-1"), ("a", "", b"\xe9"))
        assert answer.status_code == 400
    text = post_fields(client, "/plain", ("_charset_", "", b"x")).text
    assert text == "[('_charset_', 'x')] None"


def test_an_unknown_charset_is_skipped(serve_ours: Serve) -> None:
    client = serve_ours(form_app(ours))
    text = post_fields(client, "/plain", ("a", "text/plain; charset=none", "é".encode())).text
    assert text == "[('a', 'é')] None"
    answer = post_fields(client, "/plain", ("a", "text/plain; charset=punycode", b"\xe9"))
    assert answer.status_code == 400


def test_forms_without_files_are_decoded_with_other_charsets(cherrypy: Any, serve: Serve) -> None:
    client = serve(form_app(cherrypy))
    assert client.post("/tried", content=b"a=%E9", headers=FORM).text == "[('a', 'é')] latin-1"
    assert client.post("/tried", content=b"a=%C3%A9", headers=FORM).text == "[('a', 'é')] utf-8"
    assert client.post("/tool", content=b"a%00=%E9%00", headers=FORM).text == "[('a', 'é')] utf-16"
    stated = {"Content-Type": FORM["Content-Type"] + "; charset=iso-8859-1"}
    assert client.post("/plain", content=b"a=%E9", headers=stated).text == "[('a', 'é')] iso-8859-1"
    status = client.post("/plain", content=b"_charset_=iso-8859-1&a=%E9", headers=FORM).status_code
    assert status == 400


def hosts(cherrypy: Any, **options: Any) -> Any:
    def site(name: str) -> Any:
        class Root:
            @cherrypy.expose
            def index(self) -> str:
                return f"{name} {cherrypy.url('/x')}"

        return cherrypy.Application(Root(), "")

    tree = cherrypy._cptree.Tree()
    domains = {"pies.example": site("pies"), "pies.example:443": site("safe pies")}
    tree.graft(cherrypy.wsgi.VirtualHost(site("main"), domains, **options), "")
    return tree


def test_each_host_can_have_its_own_application(cherrypy: Any, serve: Serve) -> None:
    client = serve(hosts(cherrypy))
    assert client.get("/").text.startswith("main ")
    assert client.get("/", headers={"Host": "pies.example"}).text == "pies http://pies.example/x"
    assert client.get("/", headers={"Host": "pies.example:443"}).text.startswith("safe pies ")
    assert client.get("/", headers={"X-Forwarded-Host": "pies.example"}).text.startswith("pies ")
    direct = serve(hosts(cherrypy, use_x_forwarded_host=False))
    assert direct.get("/", headers={"X-Forwarded-Host": "pies.example"}).text.startswith("main ")
    assert cherrypy.wsgi is cherrypy._cpwsgi
    assert cherrypy.wsgi.VirtualHost(1).domains == {}


def dispatched() -> Any:
    class Root:
        @ours.expose
        def index(self) -> str:
            return "main"

        @ours.expose
        def pies(self) -> str:
            return "pies"

    domains: Any = {"pies.example": "/pies"}
    dispatch = ours.dispatch.VirtualHost(**domains)
    return ours.Application(Root(), "", {"/": {"request.dispatch": dispatch}})


@pytest.mark.parametrize("make_app", [dispatched, lambda: hosts(ours)])
def test_R14_a_malformed_host_cannot_choose_an_application(
    make_client: MakeClient, make_app: Callable[[], Any]
) -> None:
    client = make_client(make_app(), validate=False)
    for headers, shown in (
        ({"X-Forwarded-Host": "pies.example\t, inside"}, "pies"),
        ({"X-Forwarded-Host": "", "Host": "pies.example"}, "pies"),
        ({"X-Forwarded-Host": "other.example", "Host": "pies.example"}, "main"),
    ):
        assert client.get("/", headers=headers).text.startswith(shown)
    for name in ("Host", "X-Forwarded-Host"):
        answer = client.get("/", headers={name: "pies.example/x"})
        assert answer.status_code == 400
        assert "The request's host must be one name or address" in answer.text


def test_connect_is_handled_like_any_other_method(cherrypy: Any, side: str, serve: Serve) -> None:
    class Root:
        @cherrypy.expose
        def index(self) -> str:
            request = cherrypy.request
            return f"{request.method} {request.request_line}"

    class Rest:
        exposed = True

        def CONNECT(self, host: str) -> str:
            return f"to {host}"

    options = {} if side == "original" else {"validate": False}
    client = serve(cherrypy.Application(Root(), ""), **options)
    assert client.request("CONNECT", "/").text.startswith("CONNECT CONNECT / HTTP/1")
    by_method = {"/": {"request.dispatch": cherrypy.dispatch.MethodDispatcher()}}
    client = serve(cherrypy.Application(Rest(), "", by_method), **options)
    assert client.request("CONNECT", "/pies.example").text == "to pies.example"
    assert client.get("/pies.example").headers["Allow"] == "CONNECT"


def test_a_digest_login_checks_its_uri(cherrypy: Any, serve: Serve) -> None:
    """CherryPy computes with the ``uri`` that the client states, and compares it with nothing."""

    class Root:
        @cherrypy.expose
        def index(self) -> str:
            return str(cherrypy.request.login)

    get_ha1 = cherrypy.lib.auth_digest.get_ha1_dict_plain({"bob": "x"})
    options = {"on": True, "realm": "here", "get_ha1": get_ha1, "key": "k"}
    config = {"/": {f"tools.auth_digest.{name}": value for name, value in options.items()}}
    client = serve(cherrypy.Application(Root(), "", config))
    another = 401 if cherrypy is ours else 200
    for uri, spoil, status in (
        ("/", False, 200),
        ("/another?x=1", False, another),
        ("/", True, 401),
    ):
        challenge = client.get("/").headers["WWW-Authenticate"]
        answered = Answer(401, [("www-authenticate", challenge)], b"")
        response = client.get("/", headers=digest("bob", "x", uri, "here", spoil=spoil)([answered]))
        assert response.status_code == status
        assert status == 401 or response.text == "bob"


# -- Bottle ----------------------------------------------------------------------------------------


def bottle_app(bottle: Any) -> Any:
    app = bottle.Bottle()

    @app.post("/form")
    def form() -> str:
        return str(
            [(name, bottle.request.forms.getunicode(name)) for name in sorted(bottle.request.forms)]
        )

    @app.route("/tunnel", method="CONNECT")
    def tunnel() -> str:
        return str(bottle.request.method)

    return app


def test_a_bottle_field_is_decoded_with_the_charset_of_its_part(
    bottle: Any, connect: MakeClient
) -> None:
    for world in ("wsgi",) if bottle is not our_bottle else ("wsgi", "asyncio", "trio"):
        client = connect(bottle_app(bottle), world, validate=False)
        latin = ("a", "text/plain; charset=iso-8859-1", b"\xe9")
        text = post_fields(client, "/form", latin, ("c", "", "é".encode())).text
        assert text == "[('a', 'é'), ('c', 'é')]"
        text = post_fields(client, "/form", ("c", "", b"\xe9"), of_form="; charset=latin1").text
        assert text == "[('c', 'é')]"
        assert client.request("CONNECT", "/tunnel").text == "CONNECT"


@pytest.mark.parametrize("kind", ["", "text/plain; charset=none", "text/plain; charset=utf-16"])
def test_a_bottle_field_that_cannot_be_decoded_gets_400(make_client: MakeClient, kind: str) -> None:
    answer = post_fields(make_client(bottle_app(our_bottle)), "/form", ("a", kind, b"\xe9"))
    assert answer.status_code == 400
    assert "be decoded as" in answer.text


@pytest.mark.parametrize(
    ("module", "name", "advice"),
    [
        ("lib", "cpstats", "AccessLog"),
        ("lib.sessions", "MemcachedSession", "RedisSessionBackend"),
        ("process", "win32", "service"),
    ],
)
def test_a_missing_name_of_a_module_raises_an_error_with_advice(
    module: str, name: str, advice: str
) -> None:
    found = import_module(f"micropie_compat.cherrypy.{module}")
    with pytest.raises(ImportError, match=advice):
        getattr(found, name)
    with pytest.raises(AttributeError, match=f"module 'cherrypy.{module}' has no attribute 'none'"):
        found.none  # noqa: B018


# -- a guard around both halves --------------------------------------------------------------------


def bottle_forms() -> Any:
    app = our_bottle.Bottle()

    @app.post("/form")
    def form() -> str:
        return str(
            sorted((name, len(value)) for name, value in our_bottle.request.forms.allitems())
        )

    @app.post("/later")
    async def later() -> str:
        upload = our_bottle.request.files.f
        return f"{our_bottle.request.forms.t} {upload.filename} {len(upload.file.read())}"

    @app.post("/upload")
    def upload() -> str:
        file = our_bottle.request.files.f
        return f"{our_bottle.request.forms.t} {file.filename} {len(file.file.read())}"

    return app


def cherrypy_forms() -> Any:
    class Root:
        @ours.expose
        def form(self, **fields: Any) -> str:
            return str(sorted((name, len(value)) for name, value in fields.items()))

        @ours.expose
        def upload(self, f: Any, t: str, **_: Any) -> str:
            return f"{t} {f.filename} {len(f.file.read())}"

        @ours.expose
        async def later(self, f: Any, t: str, **_: Any) -> str:
            return self.upload(f, t)

    return ours.Application(Root(), "")


@pytest.mark.parametrize("make_app", [bottle_forms, cherrypy_forms])
@pytest.mark.parametrize("size", [3_000_000, 80_000, 5])
def test_a_csrf_token_in_a_field_is_accepted_by_migrated_handlers(
    make_client: MakeClient, make_app: Any, size: int
) -> None:
    app = make_app()
    app.native.get("/token")(lambda: csrf_token(micropie.request))
    app.native.middlewares.append(CSRFMiddleware())
    client = make_client(app)
    token = client.get("/token").text
    for fields, status in (({"csrf_token": token}, 200), ({"csrf_token": "x"}, 403), ({}, 403)):
        answer = client.post("/form", data={**fields, "a": "a" * min(size, 90_000)})
        assert answer.status_code == status
        assert status != 200 or answer.text == str(
            [("a", min(size, 90_000)), ("csrf_token", len(token))]
        )
        for path in ("/upload", "/later"):
            answer = client.post(
                path, data={**fields, "t": "T"}, files={"f": ("a.txt", b"1" * size)}
            )
            assert answer.status_code == status
            assert (status != 200 or answer.text) == (status != 200 or f"T a.txt {size}")
