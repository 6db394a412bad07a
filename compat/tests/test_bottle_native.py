"""Moved handlers, and what micropie adds to their application in place."""

from __future__ import annotations

import asyncio
import functools
import hashlib
import os
import warnings
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import bottle as original_bottle
import pytest

import micropie
from compat.tests import moved_shop
from micropie import App, HTTPError, HttpMiddleware, Redirect, Request, SetupError, UploadFile
from micropie._core.http import current_request
from micropie.middleware import ProxyHeaders
from micropie.testing import TestClient, WebSocketRefused
from micropie_compat import bottle
from tests.asgi.calls import respond
from tests.support.clients import MakeClient

JSON_TYPE = {"Content-Type": "application/json"}


@pytest.fixture
def app() -> bottle.Bottle:
    return bottle.Bottle()


async def later(value: Any) -> Any:
    """Return ``value`` after a turn of the loop, whichever it is."""
    from anyio.lowlevel import checkpoint

    await checkpoint()
    return value


def test_an_async_handler_uses_bottle_s_request_and_response(
    app: bottle.Bottle, make_client: MakeClient
) -> None:
    @app.post("/form/<number:int>")
    async def form(number: int) -> dict[str, Any]:
        bottle.response.set_header("X-Before", "1")
        await later(None)
        bottle.response.status = 201
        return {
            "number": number,
            "name": bottle.request.forms.name,
            "route": bottle.request.route.rule,
        }

    @app.get("/view")
    @bottle.jinja2_view("{{ x }}!")
    async def view() -> dict[str, Any]:
        return {"x": await later("seen")}

    @app.get("/abort")
    async def abort() -> None:
        await later(None)
        bottle.abort(409, "late")

    @app.get("/boom")
    async def boom() -> None:
        await later(None)
        raise ZeroDivisionError

    @app.get("/stream")
    async def stream() -> AsyncIterator[str]:
        async def chunks() -> AsyncIterator[str]:
            yield "a"
            yield await later("b")

        return chunks()

    app.get("/returned")(lambda: later("by a def"))
    app.get("/twice")(lambda: later(later("twice")))
    app.error(409)(lambda error: f"caught {error.body}")
    client = make_client(app)
    answer = client.post("/form/3", data={"name": "ä"})
    assert answer.json() == {"number": 3, "name": "ä", "route": "/form/<number:int>"}
    assert (answer.status_code, answer.headers["x-before"]) == (201, "1")
    assert client.get("/view").text == "seen!"
    assert (client.get("/abort").status_code, client.get("/abort").text) == (409, "caught late")
    assert client.get("/boom").status_code == 500
    assert client.get("/stream").text == "ab"
    assert client.get("/returned").text == "by a def"
    assert client.get("/twice").text == "twice"


def test_hooks_also_run_around_async_handlers(app: bottle.Bottle, make_client: MakeClient) -> None:
    seen = []
    app.hook("before_request")(lambda: seen.append("before"))
    app.hook("after_request")(lambda: bottle.response.set_header("X-After", "1"))
    app.get("/")(lambda: later({"a": 1}))

    @app.post("/async")
    async def read() -> str:
        return await later(bottle.request.forms.a)

    client = make_client(app)
    assert client.post("/async", data={"a": "b"}).text == "b"
    assert client.get("/").json() == {"a": 1}
    assert client.get("/").headers["x-after"] == "1"
    assert client.get("/none").headers["x-after"] == "1"
    assert seen == ["before"] * 4


def run_at_once(function: Any) -> Any:
    """A decorator with which programs for Bottle call ``async def`` code."""

    @functools.wraps(function)
    def wrapper(*args: Any, **values: Any) -> Any:
        return asyncio.run(function(*args, **values))

    return wrapper


@pytest.mark.parametrize("place", ["decorator", "plugin", "apply"])
def test_a_decorator_or_a_plugin_may_run_an_async_handler_itself(
    place: str, app: bottle.Bottle, make_client: MakeClient
) -> None:
    async def handler() -> str:
        await asyncio.sleep(0)
        return f"{bottle.request.forms.name}!"

    if place == "plugin":
        app.install(run_at_once)
    options = {"apply": run_at_once} if place == "apply" else {}
    app.post("/", **options)(run_at_once(handler) if place == "decorator" else handler)
    assert make_client(app).post("/", data={"name": "pie"}).text == "pie!"


def test_an_async_function_that_nothing_awaits_is_refused(app: bottle.Bottle) -> None:
    async def check(*_: Any) -> None: ...

    for name in ("before_request", "after_request"):
        with pytest.raises(SetupError, match=f"{name}' is async def: write def"):
            app.hook(name)(check)
    with pytest.raises(SetupError, match="error handler for 404 is async def"):
        app.error(404)(check)
    with pytest.raises(SetupError, match="check of auth_basic is async def"):
        bottle.auth_basic(check)  # type: ignore[arg-type]
    assert not any(app.hooks.values())
    assert not app.error_handler
    run_to_its_end = functools.wraps(check)(lambda: anyio.run(check))
    assert app.hook("before_request")(run_to_its_end) is run_to_its_end


@pytest.mark.parametrize("has_hook", [False, True])
def test_an_async_handler_refuses_a_large_body(
    app: bottle.Bottle, make_client: MakeClient, has_hook: bool
) -> None:
    if has_hook:  # then the route is found after the body's limit is set
        app.hook("before_request")(str)

    @app.post("/")
    async def size() -> str:
        return str(len(bottle.request.body.read()))

    client = make_client(app)
    assert client.post("/", content=b"x" * 300_000).text == "300000"
    assert client.post("/", content=b"x" * (17 * 1024 * 1024)).status_code == 413


def test_a_migrated_handler_can_use_the_native_request(
    app: bottle.Bottle, make_client: MakeClient
) -> None:
    @app.get("/<name>")
    def greet(name: str) -> str:
        route: Any = micropie.request.route
        micropie.request.session["seen"] = name
        micropie.request.response.headers["X-Native"] = "1"
        return f"{micropie.request.path} {route.pattern} {route.name} {[*micropie.request.path_params]}"

    answer = make_client(app).get("/x")
    assert answer.text == "/x /<name> greet ['x']"
    assert answer.headers["x-native"] == "1"
    assert "session_id" in answer.cookies


def test_a_migrated_handler_may_raise_native_errors(
    app: bottle.Bottle, make_client: MakeClient
) -> None:
    def refuse(status: int) -> None:
        raise HTTPError(status, "native")

    def away() -> None:
        raise Redirect("/there")

    def streamed() -> Any:
        refuse(410)
        yield "never"

    app.get("/refuse/<status:int>")(refuse)
    app.get("/away")(away)
    app.get("/streamed")(streamed)
    client = make_client(app)
    assert client.get("/refuse/418").status_code == 418
    assert client.get("/refuse/418").text == "native"
    assert client.get("/away", follow_redirects=False).headers["location"] == "/there"
    assert client.get("/streamed").status_code == 410


def test_without_catchall_micropie_handles_exceptions(
    app: bottle.Bottle, make_client: MakeClient
) -> None:
    class Mine(Exception):
        pass

    def fail() -> None:
        raise Mine

    def fail_later() -> Any:
        raise Mine
        yield

    app.catchall = False
    assert app.config["catchall"] is False
    assert app.catchall is False
    app.native.error(Mine)(lambda: (409, "mine"))
    app.get("/")(fail)
    app.get("/later")(fail_later)
    client = make_client(app)
    assert (client.get("/").status_code, client.get("/").text) == (409, "mine")
    assert client.get("/later").status_code == 409


def test_native_routes_take_precedence_over_migrated_ones(
    app: bottle.Bottle, make_client: MakeClient
) -> None:
    app.get("/both")(lambda: "moved")
    app.get("/moved/<x:path>")(lambda x: f"moved {x}")
    app.post("/native")(lambda: "moved post")
    app.native.get("/both")(lambda: "native")

    @app.native.get("/native")
    async def native(a: int) -> dict[str, int]:
        return {"a": await later(a)}

    client = make_client(app)
    assert client.get("/both").text == "native"
    assert client.get("/moved/a//b/").text == "moved a//b/"
    assert client.get("/native?a=3").json() == {"a": 3}
    assert client.post("/native").text == "moved post"
    assert client.get("/none").status_code == client.post("/none").status_code == 404
    assert app.native.url_for("native") == "/native"


@pytest.mark.parametrize("hooked", [False, True])
@pytest.mark.parametrize("environ", [False, True])
def test_a_native_path_leaves_its_other_methods_to_bottle(
    app: bottle.Bottle, make_client: MakeClient, hooked: bool, environ: bool
) -> None:
    def strip() -> None:
        if environ:
            bottle.request.environ["PATH_INFO"] = bottle.request.path.rstrip("/")
        if bottle.request.query.stop:
            bottle.abort(404, "stopped")

    seen = []

    class Guard(HttpMiddleware):
        def before_request(self, request: Any) -> None:
            seen.append(request.path)

    app.native.middlewares.append(Guard())
    if hooked:
        app.add_hook("before_request", strip)
    app.put("/both")(lambda: "put")
    app.delete("/old")(lambda: "delete")
    app.native.get("/both")(lambda: "get")
    app.native.get("/new/<name>")(lambda name: name)
    client = make_client(app)
    for path, allowed in {
        "/both": {"GET", "HEAD", "OPTIONS", "PUT"},
        "/new/a": {"GET", "HEAD", "OPTIONS"},
    }.items():
        for method, status in {"POST": 405, "OPTIONS": 204}.items():
            response = client.request(method, path)
            assert response.status_code == status
            assert {*response.headers["allow"].split(", ")} == allowed
    assert (client.get("/both").text, client.put("/both").text) == ("get", "put")
    assert client.post("/old").headers["allow"] == "DELETE"
    assert client.get("/new/").status_code == 404
    assert len(seen) == 8
    if hooked:
        assert "stopped" in client.post("/new/a?stop=1").text
        assert client.put("/both/").text == "put" or not environ


def test_a_native_route_is_not_part_of_the_bottle_application(
    app: bottle.Bottle, make_client: MakeClient
) -> None:
    @app.native.post("/native/<name>")
    def native(name: str) -> list[str]:
        request = bottle.request
        return [
            name,
            request.path,
            request.query.a,
            request.forms.b,
            request.remote_addr or "",
            request.url,
        ]

    app.native.get("/response")(lambda: bottle.response.status)
    app.native.error(RuntimeError)(lambda error: (500, str(error)))
    client = make_client(app)
    read = client.post("/native/é?a=1", data={"b": "2"}).json()
    assert read == ["é", "/native/é", "1", "2", "127.0.0.1", "http://testserver/native/%C3%A9?a=1"]
    assert "use micropie.request.response (.headers" in client.get("/response").text


@pytest.fixture
def raising(app: bottle.Bottle) -> bottle.Bottle:
    """Answers at ``/old/x``, ``/new/x`` and ``/new/later/x`` with the same functions, all of which
    raise.
    """

    def away() -> None:
        bottle.redirect("../there?a=1")

    def moved() -> None:
        bottle.redirect("/there", 301)

    def conflict() -> None:
        bottle.abort(409, "<taken>")

    def gone() -> None:
        bottle.request.user = "Ann"
        bottle.abort(410)

    def teapot() -> None:
        raise bottle.HTTPResponse(
            "short and stout", 418, {"X-A": "1", "Content-Type": "text/plain"}
        )

    def nothing() -> None:
        raise bottle.HTTPResponse(status=204)

    def stream() -> None:
        raise bottle.HTTPResponse(iter(["a", "b"]), 201)

    def file() -> None:
        raise bottle.static_file(Path(__file__).name, Path(__file__).parent)

    def document() -> None:
        raise bottle.HTTPResponse(str(bottle.request.json))

    def refused() -> None:
        raise bottle.HTTPError(401, "who?", **{"WWW-Authenticate": "Basic"})

    @app.error(410)
    def page(error: bottle.HTTPError) -> Any:
        bottle.response.set_header("X-User", bottle.request.user)
        return ["gone: ", str(error.body)]

    def in_both_halves(function: Any) -> None:
        async def waits() -> object:
            await later(None)
            return function()

        name = function.__name__
        app.route(f"/old/{name}", ["GET", "POST"])(function)
        app.native.route(f"/new/{name}", methods=["GET", "POST"])(function)
        app.native.route(f"/async/{name}", methods=["GET", "POST"])(waits)

    def returned() -> bottle.HTTPResponse:
        return bottle.HTTPResponse("made", 201, {"X-A": "1"})

    def refusal() -> bottle.HTTPError:
        return bottle.HTTPError(418, "<pot>")

    raised = (away, moved, conflict, gone, teapot, nothing, stream, file, document, refused)
    for function in (*raised, returned, refusal):
        in_both_halves(function)
    return app


@pytest.mark.parametrize("has_hook", [False, True])
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
@pytest.mark.parametrize(
    "name",
    [
        "stream",
        "away",
        "moved",
        "conflict",
        "gone",
        "teapot",
        "nothing",
        "file",
        "document",
        "refused",
        "returned",
        "refusal",
    ],
)
def test_native_and_migrated_handlers_get_the_same_responses_for_errors_and_results(
    raising: bottle.Bottle, make_client: MakeClient, name: str, method: str, has_hook: bool
) -> None:
    if has_hook:
        raising.native.middlewares.append(HttpMiddleware())
    client = make_client(raising)
    answers = [
        client.request(
            method,
            f"/{half}/{name}",
            content=b"{" if method == "POST" else b"",
            headers=JSON_TYPE,
            follow_redirects=False,
        )
        for half in ("old", "new", "async")
    ]
    for answer in answers:
        # old answers have it only with middleware
        answer.headers.pop("x-content-type-options", None)
    seen = [(answer.status_code, answer.text, sorted(answer.headers.items())) for answer in answers]
    assert seen[1:] == seen[:1] * 2
    assert seen[0][0] in (200, 201, 204, 301, 303, 400, 401, 409, 410, 418)


def test_an_error_raised_in_native_code_keeps_session_and_cookies(
    raising: bottle.Bottle, make_client: MakeClient
) -> None:
    @raising.native.post("/login")
    def login(name: str) -> None:
        micropie.request.session["user"] = name
        micropie.request.response.set_cookie("seen", "1")
        bottle.redirect("/name")

    raising.get("/name")(
        lambda: micropie.request.session["user"] + micropie.request.cookies["seen"]
    )
    text = make_client(raising).post("/login", data={"name": "Ann"}, follow_redirects=True).text
    assert text == "Ann1"


def test_a_hook_around_native_and_migrated_handlers_may_redirect_and_abort(
    raising: bottle.Bottle, make_client: MakeClient
) -> None:
    class Members(HttpMiddleware):
        def before_request(self, request: Request) -> None:
            if "out" in request.query_string:
                bottle.redirect("/login")
            if "none" in request.query_string:
                bottle.abort(410, "no")

    raising.get("/old")(lambda: "")
    raising.native.get("/new")(lambda: "")
    raising.native.middlewares.append(Members())
    raising.hook("before_request")(lambda: setattr(bottle.request, "user", "Bob"))
    client = make_client(raising)
    for path in ("/old", "/new", "/nowhere"):
        answer = client.get(f"{path}?out", follow_redirects=False)
        assert (answer.status_code, answer.headers["location"]) == (303, "http://testserver/login")
        assert client.get(f"{path}?none").status_code == 500  # the page wants a user
        assert client.get("/old/conflict").status_code == 409


def test_an_error_handler_sees_errors_raised_natively(
    raising: bottle.Bottle, make_client: MakeClient
) -> None:
    raising.native.error(bottle.HTTPError)(lambda error: (error.status_code, f"mine: {error.body}"))
    client = make_client(raising)
    assert client.get("/new/conflict").text == "mine: <taken>"
    assert "mine" not in client.get("/old/conflict").text


@pytest.mark.parametrize("size", [80_000, 3, 0])
def test_native_and_migrated_handlers_get_the_same_uploads(
    app: bottle.Bottle, make_client: MakeClient, size: int
) -> None:
    def described(*_: Any) -> str:
        request = bottle.request
        upload = request.files["f"]
        tags = request.forms.getall("tag") + request.params.getall("tag")
        return f"{tags} {upload.name} {upload.filename} {upload.content_type} {len(upload.file.read())} {len(request.POST)}"

    async def typed(f: UploadFile) -> str:
        return described(await later(f))

    app.post("/old")(described)
    app.native.post("/new")(lambda: described())
    app.native.post("/later")(typed)
    client = make_client(app)
    sent: Any = {"data": {"tag": ["a", "é"]}, "files": {"f": ("my pie.txt", b"x" * size)}}
    answers = [client.post(path, **sent).text for path in ("/old", "/new", "/later")]
    assert answers == [f"['a', 'é', 'a', 'é'] f my-pie.txt text/plain {size} 2"] * 3


def test_settings_allow_more_fields_and_files_than_the_defaults(
    app: bottle.Bottle, make_client: MakeClient
) -> None:
    app.post("/")(lambda: f"{len(bottle.request.forms)} {len(bottle.request.files)}")
    files = [(f"file{number}", ("pie.txt", b"x")) for number in range(101)]
    fields = {f"field{number}": "x" for number in range(1001)}
    few: Any = [("file", ("pie.txt", b"x"))]
    client = make_client(app)

    def post(**form: Any) -> Any:
        # in one piece: httpx sends four for each field, which take long one after the other
        sent = client.build_request("POST", "/", **form)
        return client.post("/", content=sent.read(), headers=sent.headers)

    for form, most in (({"files": files}, "100 files"), ({"files": few, "data": fields}, "1000")):
        answer = post(**form)
        assert (answer.status_code, f"may have {most}" in answer.text) == (413, True)
    app.native.configure(max_form_files=101, max_form_fields=1001)
    client = make_client(app)
    assert post(files=files).text == "0 101"
    assert post(files=few, data=fields).text == "1001 1"


def test_an_empty_file_input_is_text_in_native_and_migrated_handlers(
    app: bottle.Bottle, make_client: MakeClient
) -> None:
    def described() -> str:
        request = bottle.request
        return f"{request.POST['f']!r} {request.forms.get('f')!r} {request.files.get('f')!r} {[*request.POST]}"

    app.post("/old")(described)
    app.native.post("/new")(described)
    client = make_client(app)
    part = '--x\r\nContent-Disposition: form-data; name="{}"{}\r\n\r\n\r\n'
    sent = part.format("f", '; filename=""') + part.format("a", "") + "--x--\r\n"
    for path in ("/old", "/new"):
        answer = client.post(
            path, content=sent.encode(), headers={"Content-Type": "multipart/form-data; boundary=x"}
        )
        assert answer.text == "'' '' None ['a', 'f']"


@pytest.mark.parametrize("path", ["/old", "/old/later", "/new", "/new/later"])
def test_fields_of_the_query_of_a_get_are_available_everywhere(
    app: bottle.Bottle, make_client: MakeClient, path: str
) -> None:
    def fields() -> str:
        request = bottle.request
        return f"{request.params.a} {request.forms.a} {request.json} {request.body.read()!r}"

    async def fields_later() -> str:
        return fields()

    app.get("/old")(fields)
    app.get("/old/later")(fields_later)
    app.native.get("/new")(fields)
    app.native.get("/new/later")(fields_later)
    client = make_client(app)
    assert client.get(f"{path}?a=1").text == "1  None b''"
    assert client.get(f"{path}?a=1", headers=JSON_TYPE).text == "1  None b''"
    if "later" not in path:
        assert client.request("GET", f"{path}?a=1", content=b"a=2").text == "2 2 None b'a=2'"
        text = client.request("GET", f"{path}?a=1", content=iter([b"a=", b"2"])).text
        assert text == "2 2 None b'a=2'"


@pytest.mark.parametrize("path", ["/old", "/old/later", "/new", "/new/later"])
@pytest.mark.parametrize(("asks", "size"), [("cookies", 80_000), ("forms", 9), ("cookies", 9)])
def test_a_hook_may_read_the_query_before_the_body_is_received(
    app: bottle.Bottle, make_client: MakeClient, path: str, asks: str, size: int
) -> None:
    class Asks(HttpMiddleware):
        def before_request(self, request: Request) -> None:
            getattr(bottle.request, asks).get("x")

    def form() -> str:
        return f"{len(bottle.request.forms.a)} {len(bottle.request.body.read())}"

    async def form_later() -> str:
        return form()

    app.post("/old")(form)
    app.post("/old/later")(form_later)
    app.native.post("/new")(form)
    app.native.post("/new/later")(form_later)
    app.native.middlewares.append(Asks())
    client = make_client(app)
    assert client.post(path, data={"a": "x" * size}).text == f"{size} {size + 2}"


def test_signed_cookies_are_shared_with_native_handlers(
    app: bottle.Bottle, make_client: MakeClient
) -> None:
    @app.post("/old")
    def old() -> str:
        before = bottle.request.get_cookie("user", "nobody", secret="sesame")
        bottle.response.set_cookie(
            "user", {"name": bottle.request.forms.name}, secret="sesame", path="/"
        )
        return str(before)

    @app.native.post("/new")
    def new(name: str) -> str:
        before = bottle.request.get_cookie("user", "nobody", secret="sesame")
        signed = bottle.cookie_encode(["user", {"name": name}], "sesame").decode()
        current_request().response.set_cookie("user", signed)
        return str(before)

    client = make_client(app)
    asked = [("/new", "Ann"), ("/old", "Bob"), ("/old", "Cem"), ("/new", "Dee"), ("/new", "Eve")]
    answers = [client.post(path, data={"name": name}).text for path, name in asked]
    assert answers == ["nobody", *(str({"name": name}) for name in ("Ann", "Bob", "Cem", "Dee"))]


def test_signed_values_match_those_of_the_original() -> None:
    signed = bottle.cookie_encode(("a", 1), "sesame", hashlib.sha1)
    with warnings.catch_warnings(action="ignore"):
        assert original_bottle.cookie_decode(signed, "sesame", hashlib.sha1) == ("a", 1)
        theirs = original_bottle.cookie_encode({"b": 2}, "sesame")
    assert bottle.cookie_decode(theirs.decode(), "sesame") == {"b": 2}
    found = [bottle.cookie_decode(data, "other") for data in (theirs, b"!", "!?", "é?", b"")]
    assert found == [None] * 5


class Inner(App):
    def greet(self, name: str = "World") -> str:
        return f"Hello, {name}!"


async def asgi(scope: Any, receive: Any, send: Any) -> None:
    await respond(send, scope["path"].encode())


def test_native_and_asgi_applications_can_be_mounted(
    app: bottle.Bottle, make_client: MakeClient
) -> None:
    app.mount("/new/", Inner())
    app.mount("/asgi", asgi)
    app.get("/<x:path>")(lambda x: f"moved {x}")
    client = make_client(app)
    assert client.get("/new/greet/you").text == "Hello, you!"
    assert client.get("/asgi/x").text == "/asgi/x"
    assert client.get("/newer").text == "moved newer"
    assert client.get("/new/none").status_code == 404


def test_a_migrated_application_can_be_mounted_in_a_native_one(
    app: bottle.Bottle, make_client: MakeClient
) -> None:
    @app.post("/form/<x>")
    def form(x: str) -> str:
        return f"{bottle.request.script_name} {bottle.request.path} {bottle.request.forms.a} {app.get_url('/form/<x>', x=1)}"

    root = Inner()
    root.mount("/old", app)
    client = make_client(root)
    assert client.post("/old/form/x", data={"a": "b"}).text == "/old/ /form/x b /old/form/1"
    assert client.get("/greet").text == "Hello, World!"


def test_the_native_application_has_settings(app: bottle.Bottle, make_client: MakeClient) -> None:
    app.native.configure(text="plain", docs="/documents")
    app.native.text = App(text="html")  # an application, whose path has a setting's name
    app.native.text.get("/")(lambda: "text")  # type: ignore[attr-defined]
    app.native.get("/pies")(lambda: "pies")
    app.get("/old")(lambda: "old")
    client = make_client(app)
    types = [
        client.get(path).headers["content-type"].split(";")[0]
        for path in ("/pies", "/text", "/old", "/documents")
    ]
    assert types == ["text/plain", "text/html", "text/html", "text/html"]


@pytest.mark.parametrize("name", ["session_cookie", "templates", "docs"])
def test_a_setting_is_not_an_attribute_of_the_native_application(
    app: bottle.Bottle, name: str
) -> None:
    """It was set in silence, and did nothing."""
    with pytest.raises(SetupError, match=rf"native.configure\({name}=...\)"):
        setattr(app.native, name, "x")
    with pytest.raises(SetupError, match="no setting 'pies'"):
        app.native.configure(pies=1)


def test_the_carrier_cannot_be_part_of_another_tree(app: bottle.Bottle) -> None:
    root = Inner()
    root.mount("/old", app.native)
    with pytest.raises(SetupError, match=r"without \.native"):
        root._micropie.compiled()


def test_a_migrated_application_can_add_a_websocket(app: bottle.Bottle, backend: Any) -> None:
    app.get("/chat")(lambda: "page")

    @app.websocket("/chat")
    async def chat(ws: micropie.WebSocket) -> None:
        await ws.accept()
        await ws.send_text(f"you said {await ws.receive_text()}")

    with TestClient(app, backend=backend) as client:
        assert client.get("/chat").text == "page"
        with client.websocket("/chat") as socket:
            socket.send_text("hi")
            assert socket.receive_text() == "you said hi"


@pytest.mark.parametrize("options", [{"prefix": "/a/b"}, {"prefix": "/a/b/", "name": "inner"}])
def test_an_application_that_bottle_calls_as_wsgi_keeps_its_websockets(
    options: dict[str, Any], app: bottle.Bottle, backend: Any
) -> None:
    inner = bottle.Bottle()
    inner.get("/page")(lambda: bottle.request.script_name)

    @inner.websocket("/chat")
    async def chat(ws: micropie.WebSocket) -> None:
        await ws.accept()
        await ws.send_text("hi")

    app.mount(app=inner, **options)
    app.mount("/wsgi", lambda environ, start_response: [])
    app.get("/page")(lambda: "page")
    with TestClient(app, backend=backend) as client:
        assert client.get("/a/b/page").text == "/a/b/"
        with client.websocket("/a/b/chat") as socket:
            assert socket.receive_text() == "hi"
        for path in ("/a/b/none", "/a/b", "/wsgi/chat", "/page", "/none"):
            with pytest.raises(WebSocketRefused, match="404"), client.websocket(path):
                pass
    app.native.middlewares.append(Members())
    with (
        TestClient(app, backend=backend) as client,
        pytest.raises(WebSocketRefused, match="403"),
        client.websocket("/a/b/chat"),
    ):
        pass


def test_under_wsgi_a_websocket_is_refused_as_in_any_application(app: bottle.Bottle) -> None:
    @app.websocket("/chat")
    async def chat(ws: micropie.WebSocket) -> None:
        """Never called."""

    with TestClient(app, protocol="wsgi") as client:
        assert client.get("/chat", headers={"Upgrade": "websocket"}).status_code == 404


def test_a_handler_sees_the_values_that_proxy_middleware_sets(
    app: bottle.Bottle, make_client: MakeClient
) -> None:
    @app.get("/")
    def seen() -> str:
        return f"{bottle.request.url} {bottle.request.remote_addr} {bottle.request.remote_route}"

    headers = {
        "X-Forwarded-For": "9.9.9.9",
        "X-Forwarded-Proto": "https",
        "X-Forwarded-Host": "proxy.example",
    }
    assert "9.9.9.9" not in make_client(app).get("/", headers=headers).text
    assert "proxy.example" not in make_client(app).get("/", headers=headers).text
    app.native.middlewares.append(ProxyHeaders(trusted=["0.0.0.0/0", "::/0"], hops=1, host=True))
    text = make_client(app).get("/", headers=headers).text
    assert text.startswith("https://proxy.example/ 9.9.9.9 ['9.9.9.9']")


@pytest.mark.parametrize("has_hook", [True, False])
@pytest.mark.parametrize("path", ["/cellar", "/cell%FFar", "/%C3cellar"])
def test_R12_a_path_that_is_not_text_cannot_bypass_middleware(
    app: bottle.Bottle, make_client: MakeClient, path: str, has_hook: bool
) -> None:
    class Closed(HttpMiddleware):
        def before_request(self, request: Request) -> None:
            if request.path == "/cellar":
                raise HTTPError(403)

    app.route("/cellar")(lambda: "dark")
    app.native.middlewares.append(Closed())
    if has_hook:
        app.hook("before_request")(lambda: None)
    answer = make_client(app).get("/", extensions={"target": path.encode()})
    assert answer.status_code == (403 if path == "/cellar" else 404)


def test_routes_may_be_added_while_the_application_runs(
    app: bottle.Bottle, make_client: MakeClient
) -> None:
    client = make_client(app)
    assert client.get("/late").status_code == 404
    app.get("/late")(lambda: "late")
    assert client.get("/late").text == "late"
    app.native.get("/native")(lambda: "native")
    assert client.get("/native").text == "native"
    app.hook("after_request")(lambda: bottle.response.set_header("X-After", "1"))
    assert client.get("/late").headers["x-after"] == "1"


@pytest.mark.processes
def test_a_migrated_application_can_run_a_handler_in_a_process(make_client: MakeClient) -> None:
    client = make_client(moved_shop.app)
    assert client.get("/moved").text == str(os.getpid())
    assert client.get("/process").text not in ("", str(os.getpid()))


def test_micropie_s_access_checks_cover_the_whole_application_or_are_refused(
    app: bottle.Bottle, make_client: MakeClient, caplog: pytest.LogCaptureFixture
) -> None:
    """Bottle calls its handlers itself, so a guard above one of them would be passed."""
    guard = micropie.requires(lambda request: "in" in request.query)

    @app.get("/above")
    @guard
    def above() -> str:
        return "secret"

    @guard
    @app.get("/outermost")
    def outermost() -> str:
        return "secret"

    client = make_client(app, raise_app_exceptions=False)
    assert [client.get(path).status_code for path in ("/above", "/outermost")] == [500, 500]
    found = caplog.text.count("with middleware or @requires has no effect: append middleware")
    assert found == 2
    app.get("/page")(lambda: "page")
    guard(app)
    client = make_client(app)
    assert [client.get(path).status_code for path in ("/page", "/page?in=1")] == [403, 200]


def test_a_link_stays_valid_when_its_page_is_migrated(make_client: MakeClient) -> None:
    app = bottle.Bottle()
    app.get("/a/<name>", name="a")(lambda name: app.get_url("b", name=name, q="1"))
    app.native.get("/b/<name>", name="b")(lambda name: app.get_url("a", name=name))
    app.get("/none")(lambda: app.get_url("none"))
    client = make_client(app)
    assert (client.get("/a/x").text, client.get("/b/x").text) == ("/b/x?q=1", "/a/x")
    assert client.get("/none").status_code == 500
    with pytest.raises(bottle.RouteBuildError):
        app.get_url("none")
    root = App()
    root.mount("/old", app)
    assert make_client(root).get("/old/a/x").text == "/old/b/x?q=1"


USES: list[Any] = [
    lambda app: app.native.get("/new")(lambda: "new"),
    lambda app: app.websocket("/chat")(lambda ws: None),
    lambda app: app.native.configure(session_timeout=60),
    lambda app: app.native.error(404)(lambda: "nothing"),
    lambda app: app.native.middlewares.append(Members()),
    lambda app: app.native.configure(lifespan=lambda app: None),
]


class Members(HttpMiddleware):
    guards = True

    async def before_request(self, request: Request) -> None:
        raise HTTPError(403)


def merge_its_routes(app: bottle.Bottle, inner: bottle.Bottle) -> None:
    inner.get("/old")(lambda: "old")
    app.merge(inner.routes)


def mount_two_levels_deep(app: bottle.Bottle, inner: bottle.Bottle) -> None:
    between = bottle.Bottle()
    between.mount("/inner/", inner)
    app.mount("/between/", between)


def mount_what_it_is_merged_into(app: bottle.Bottle, inner: bottle.Bottle) -> None:
    between = bottle.Bottle()
    between.merge(inner)
    app.mount("/between/", between)


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize(
    "add",
    [
        lambda app, inner: app.mount("/inner/", inner),
        lambda app, inner: app.merge(inner),
        merge_its_routes,
        mount_two_levels_deep,
        mount_what_it_is_merged_into,
    ],
)
def test_what_is_set_on_native_of_a_mounted_or_merged_application_is_refused(
    use: Any, add: Any, app: bottle.Bottle
) -> None:
    """It would have no effect, and an access check would let everybody in."""
    inner = bottle.Bottle()
    add(app, inner)
    app.native._micropie.compiled()
    app.native._micropie.changed()
    use(inner)
    with pytest.raises(SetupError, match="of a mounted or merged Bottle has no effect"):
        app.native._micropie.compiled()
