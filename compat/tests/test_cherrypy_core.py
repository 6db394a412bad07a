"""Dispatch, requests, responses, errors and configuration: the original and ours, in each world."""

from __future__ import annotations

import contextlib
import functools
import io
import logging
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

import anyio
import cherrypy as original
import pytest

from compat.tests.conftest import Serve, page
from compat.tests.exchange import Request, ask_asgi, ask_wsgi
from micropie import App, ClientDisconnect
from micropie.testing import WebSocketRefused
from micropie_compat import cherrypy as ours
from micropie_compat.cherrypy.log import notes_requests
from tests.support.clients import MakeClient
from tests.support.commands import environment
from tests.support.waiting import PATIENCE, until


def exposed(cherrypy: Any, **config: Any) -> Callable[[Any], Any]:
    """Expose a function with configuration; ``a__b`` stands for ``a.b``."""

    def decorate(function: Any) -> Any:
        function._cp_config = {name.replace("__", "."): value for name, value in config.items()}
        return cherrypy.expose(function)

    return decorate


# -- expose, popargs -------------------------------------------------------------------------------


def test_expose_marks_methods_and_aliases(module: Any) -> None:
    class Root:
        @module.expose
        def plain(self) -> str:
            return ""

        @module.expose()
        def called(self) -> str:
            return ""

        @module.expose("other.name")
        def one(self) -> str:
            return ""

        @module.expose(["first", "second"])
        def two(self) -> str:
            return ""

        @module.expose(alias="third")
        def three(self) -> str:
            return ""

    names = {name for name, value in vars(Root).items() if getattr(value, "exposed", False)}
    assert names == {
        "plain",
        "called",
        "one",
        "other_name",
        "two",
        "first",
        "second",
        "three",
        "third",
    }


def test_popargs_refuses_unknown_options() -> None:
    with pytest.raises(TypeError, match="'other'"):
        ours.popargs("a", other=1)  # type: ignore[call-arg]


def test_a_dispatch_method_cannot_add_segments(serve_root: Serve) -> None:
    class Root:
        def _cp_dispatch(self, vpath: list[str]) -> Any:
            vpath.insert(0, "more")
            return self

    assert serve_root(Root()).get("/a").status_code == 500


def test_a_dispatch_method_may_have_another_name(cherrypy: Any, serve_root: Serve) -> None:
    class Root:
        def follow(self, vpath: list[str]) -> Any:
            cherrypy.request.params["name"] = vpath[0]
            return self

        @cherrypy.expose
        def index(self, name: str = "none") -> str:
            return name

    dispatcher = cherrypy.dispatch.Dispatcher(dispatch_method_name="follow")
    client = serve_root(Root(), {"/": {"request.dispatch": dispatcher}})
    assert client.get("/ann/").text == "ann"


def test_a_dispatcher_refuses_an_invalid_translation_table(module: Any) -> None:
    with pytest.raises(ValueError, match="translate"):
        module.dispatch.Dispatcher(translate=5)
    module.dispatch.Dispatcher(translate={45: 95})


def test_names_with_two_underscores_are_not_published(serve_our_root: Serve) -> None:
    client = serve_our_root(type("Root", (), {"index": ours.expose(lambda self: "index")})())
    assert client.get("/__class__/").status_code == client.get("/__class__").status_code == 404


def test_a_callable_with_an_unreadable_signature_gets_a_500(serve_our_root: Serve) -> None:
    class Root:
        pass

    class Odd:
        exposed = True
        __signature__ = "none"

        def __call__(self) -> str:
            raise TypeError

    root: Any = Root()
    root.odd = Odd()
    assert serve_our_root(root).get("/odd").status_code == 500


def test_mismatched_parameters_are_hidden_if_configured(cherrypy: Any, serve_root: Serve) -> None:
    class Root:
        @exposed(cherrypy, request__show_mismatched_params=False)
        def hidden(self, a: str) -> str:
            return a

    assert "Missing parameters" not in serve_root(Root()).get("/hidden").text


def test_a_tool_may_change_arguments_of_a_page_handler(cherrypy: Any, serve_root: Serve) -> None:
    """Tools change the arguments of a handler."""

    def rename() -> None:
        handler = cherrypy.request.handler
        handler.kwargs = {**handler.kwargs, "name": "renamed"}
        handler.args = ["first"]

    class Root:
        @exposed(cherrypy, hooks__before_handler=rename)
        def index(self, *args: str, **values: str) -> str:
            return f"{args} {values}"

    text = serve_root(Root()).get("/?a=1").text
    assert text == "('first',) {'a': '1', 'name': 'renamed'}"


def test_a_tool_may_change_arguments_on_the_request(cherrypy: Any, serve_root: Serve) -> None:
    """What a tool sets as ``handler.kwargs`` is added to the parameters."""

    def replace() -> None:
        request = cherrypy.request
        request.handler.kwargs = {"added": "by the tool"}
        request.args = (*request.args, "more")

    class Root:
        @exposed(cherrypy, hooks__before_handler=replace)
        def default(self, *args: str, **values: str) -> str:
            return f"{args} {values} {cherrypy.request.args} {cherrypy.request.kwargs}"

        @cherrypy.expose
        def plain(self, *args: str) -> str:
            return f"{args} {cherrypy.request.args}"

    client = serve_root(Root())
    assert client.get("/plain/a").text == "('a',) ('a',)"
    assert client.get("/a?b=1").text == (
        "('a', 'more') {'b': '1', 'added': 'by the tool'} ('a', 'more') {'added': 'by the tool'}"
    )


def test_a_type_error_in_a_handler_whose_decorator_adds_arguments_is_a_500(
    cherrypy: Any, serve_root: Serve
) -> None:
    def with_store(function: Any) -> Any:
        @functools.wraps(function)
        def call(self: Any, *args: str, **values: str) -> Any:
            return function(self, {"pie": 1}, *args, **values)

        return call

    class Root:
        @cherrypy.expose
        @with_store
        def broken(self, store: dict[str, int], name: str = "pie") -> str:
            return "a" + store[name]  # type: ignore[operator]

        @cherrypy.expose
        @with_store
        def right(self, store: dict[str, int], name: str = "pie") -> str:
            return str(store[name])

    client = serve_root(Root())
    assert client.get("/broken").status_code == client.get("/broken?name=pie").status_code == 500
    assert client.get("/right?name=pie").text == "1"


def test_a_dispatcher_may_use_a_plain_page_handler(cherrypy: Any, serve_root: Serve) -> None:
    def dispatch(path: str) -> None:
        handler = (
            cherrypy._cpdispatch.PageHandler
            if cherrypy is original
            else cherrypy.dispatch.PageHandler
        )
        cherrypy.request.config = dict(cherrypy.config)
        cherrypy.request.handler = handler(lambda a, b: f"{path} {a} {b}", "1", b="2")
        cherrypy.request.handler.kwargs = {**cherrypy.request.handler.kwargs, "b": "3"}

    client = serve_root(None, {"/": {"request.dispatch": dispatch}})
    assert client.get("/x").text == "/x 1 3"


def test_a_dispatcher_may_respond_without_a_handler(cherrypy: Any, serve_root: Serve) -> None:
    def dispatch(path: str) -> None:
        cherrypy.request.config = dict(cherrypy.config)
        cherrypy.response.body = b"of the dispatcher"

    client = serve_root(None, {"/": {"request.dispatch": dispatch}})
    assert client.get("/x").content == b"of the dispatcher"


def test_the_configuration_of_a_default_handler_precedes_that_of_deeper_objects(
    cherrypy: Any, serve_root: Serve
) -> None:
    """It comes before that of what lies deeper."""

    class Deep:
        _cp_config = {"own.value": "deep"}

    class Root:
        deep = Deep()

        @exposed(cherrypy, own__value="default", own__other="default")
        def default(self, *args: str) -> str:
            return f"{cherrypy.request.config['own.value']} {cherrypy.request.config['own.other']}"

    client = serve_root(Root())
    assert client.get("/x").text == "default default"
    assert client.get("/deep/y").text == "deep default"


# -- requests --------------------------------------------------------------------------------------


def test_a_request_has_the_attributes_of_cherrypy_s(cherrypy: Any, serve_root: Serve) -> None:
    class Root:
        @cherrypy.expose
        def index(self, **values: str) -> str:
            request = cherrypy.request
            found = [
                request.protocol,
                request.server_protocol,
                request.header_list and True,
                request.remote.ip and True,
                request.local.port and True,
                request.stage,
                request.prev,
                request.closed,
                bool(str(request.unique_id)),
                request.toolmaps["tools"]["encode"]["on"],
                sorted(request.hooks),
                next(iter(request.headers.elements("Accept"))).value,
                "text" in request.headers.get("Accept"),
                request.query_string,
            ]
            return repr(found)

    headers = {"Accept": "text/html;q=0.9"}
    text = serve_root(Root()).get("/?a=1", headers=headers).text
    assert text.startswith(
        "[(1, 1), 'HTTP/1.1', True, True, True, 'handler', None, False, True, True, ["
    )
    assert text.endswith("'text/html', True, 'a=1']")


def test_the_server_s_body_limit_applies(
    serve_our_root: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Root:
        @exposed(ours, request__body__maxbytes=50)
        def both(self, **values: str) -> str:
            return "read"

        @ours.expose
        def index(self, **values: str) -> str:
            return "read"

    client = serve_our_root(Root())
    monkeypatch.setattr(ours.server, "max_request_body_size", 10)
    assert client.post("/", data={"a": "x" * 20}).status_code == 413
    assert client.post("/both", data={"a": "x" * 20}).status_code == 413
    monkeypatch.setattr(ours.server, "max_request_body_size", 0)
    assert client.post("/", data={"a": "x" * 20}).text == "read"
    assert client.post("/both", data={"a": "x" * 80}).status_code == 413


def test_the_body_limit_applies_however_the_body_is_read(
    serve_our_page: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ours.server, "max_request_body_size", 10)
    readers = {
        "rfile": lambda: ours.request.rfile.read(),
        "fp": lambda: ours.request.body.fp.read(),
        "body": lambda: ours.request.body.read(),
    }
    client = serve_our_page(lambda name: readers[name](), request__process_request_body=False)
    for name in readers:
        assert client.post(f"/{name}", content=b"x" * 10).content == b"x" * 10
        assert client.post(f"/{name}", content=b"x" * 11).status_code == 413
        # in chunks, without a length
        assert client.post(f"/{name}", content=iter([b"x" * 5] * 2)).content == b"x" * 10
        assert client.post(f"/{name}", content=iter([b"x" * 6] * 2)).status_code == 413


@pytest.mark.parametrize(("limit", "status"), [(10, 413), (30, 200), (0, 200), (None, 200)])
def test_an_external_server_has_the_body_limit_of_the_program_s_own_server(
    serve_our_page: Serve, monkeypatch: pytest.MonkeyPatch, limit: int | None, status: int
) -> None:
    monkeypatch.setattr(ours.server, "max_request_body_size", 5)
    own: Any = ours._cpserver.Server(ours.engine)
    own.max_request_body_size = limit
    own.subscribe()
    client = serve_our_page(lambda: ours.request.rfile.read(), request__process_request_body=False)
    try:
        assert client.post("/", content=b"x" * 20).status_code == 413
        ours.server.unsubscribe()
        assert client.post("/", content=b"x" * 20).status_code == status
    finally:
        own.unsubscribe()
    assert client.post("/", content=b"x" * 20).status_code == 413
    ours.server.subscribe()


def upload(*parts: tuple[str, str | None, bytes]) -> tuple[bytes, dict[str, str]]:
    body = b""
    for name, filename, data in parts:
        named = "" if filename is None else f'; filename="{filename}"'
        body += (
            f'--xyz\r\nContent-Disposition: form-data; name="{name}"{named}\r\n\r\n'.encode()
            + data
            + b"\r\n"
        )
    return body + b"--xyz--\r\n", {"Content-Type": "multipart/form-data; boundary=xyz"}


def test_a_handler_gets_the_parts_of_a_form(cherrypy: Any, serve_root: Serve) -> None:
    class Root:
        @cherrypy.expose
        def index(self, file: Any, note: str = "") -> str:
            part = cherrypy.request.params["file"]
            text = f"{file is part} {file.name} {file.filename} {file.file.read()!r} {file.fullvalue()!r} {note!r}"
            file.file.close()
            return f"{text} {file.content_type.value}"

    client = serve_root(Root())
    body, headers = upload(("file", "a.txt", b"content"), ("note", None, "né".encode()))
    text = client.post("/", content=body, headers=headers).text
    assert text == "True file a.txt b'content' 'content' 'né' text/plain"


def test_a_truncated_form_gets_an_error(serve_our_page: Serve) -> None:
    body, headers = upload(("file", "a.txt", b"content"))
    answer = serve_our_page(lambda file: "read").post("/", content=body[:-10], headers=headers)
    assert answer.status_code == 400


def test_a_file_input_left_empty_counts_as_no_file(serve_our_root: Serve) -> None:
    class Root:
        @ours.expose
        def index(self, file: Any) -> str:
            return f"{file.filename!r} {file.file.read()!r} {bool(file.filename)}"

    body, headers = upload(("file", "", b""))
    assert serve_our_root(Root()).post("/", content=body, headers=headers).text == "'' b'' False"


def test_a_custom_body_processor_is_called(cherrypy: Any, serve_page: Serve) -> None:
    def words(entity: Any) -> None:
        entity.params["words"] = entity.fp.read().decode().split()

    def install() -> None:
        cherrypy.request.body.processors["text"] = words

    client = serve_page(lambda words=(): repr(words), hooks__before_request_body=install)
    text = client.post("/", content=b"a b", headers={"Content-Type": "text/plain"}).text
    assert text == "['a', 'b']"


def test_body_entities_work_outside_a_request(module: Any) -> None:
    headers = module.lib.httputil.HeaderMap(
        {"Content-Length": "3", "Content-Type": "text/plain; charset=utf-8"}
    )
    part = module._cpreqbody.Part(io.BytesIO(b"abc"), headers, b"x")
    assert part.length == 3
    assert part.attempt_charsets == ["utf-8", "us-ascii"]
    part.value = b"abc"
    part.file = None
    assert part.fullvalue() == "abc"
    assert part.decode_entity("é".encode()) == "é"
    with pytest.raises(module.HTTPError):
        part.decode_entity(b"\xff")
    plain = module._cpreqbody.Entity(
        io.BytesIO(b"a"), module.lib.httputil.HeaderMap({"Transfer-Encoding": "chunked"})
    )
    assert plain.length is None
    assert plain.content_type.value == "application/x-www-form-urlencoded"
    headers = module.lib.httputil.HeaderMap({"Content-Length": "x"})
    assert module._cpreqbody.Entity(io.BytesIO(b""), headers).length is None


# -- responses -------------------------------------------------------------------------------------


def test_a_stream_is_closed_and_sees_its_request(cherrypy: Any, serve_root: Serve) -> None:
    seen: list[str] = []

    class Chunks:
        def __iter__(self) -> Any:
            return iter([cherrypy.request.path_info.encode(), b"!"])

        def close(self) -> None:
            seen.append("closed")

    class Root:
        @exposed(cherrypy, response__stream=True)
        def index(self) -> Any:
            return Chunks()

        @exposed(cherrypy, response__stream=True, hooks__on_end_request=lambda: seen.append("end"))
        def generated(self) -> Iterator[bytes]:
            try:
                yield cherrypy.request.path_info.encode()
                yield cherrypy.request.method.encode()
            finally:
                seen.append("finally")

    client = serve_root(Root())
    assert client.get("/").content == b"/!"
    assert client.get("/generated").content == b"/generatedGET"
    assert client.head("/").content == b""
    assert "finally" in seen


def test_hooks_at_the_end_of_a_request_run(cherrypy: Any, serve_root: Serve) -> None:
    seen: list[str] = []

    class Root:
        @exposed(cherrypy, hooks__on_end_request=lambda: seen.append(cherrypy.request.path_info))
        def index(self) -> str:
            return "x"

        @cherrypy.expose
        def attached(self) -> str:
            cherrypy.request.hooks.attach("before_finalize", lambda: seen.append("finalize"))
            cherrypy.request.hooks["on_end_request"].append(
                (cherrypy._cprequest.Hook)(lambda: seen.append("end"), priority=1)
            )
            return "x"

    client = serve_root(Root())
    client.get("/")
    until(lambda: seen == ["/"])
    client.get("/attached")
    until(lambda: seen == ["/", "finalize", "end"])


def test_after_a_failing_hook_only_failsafe_hooks_run(cherrypy: Any, serve_page: Serve) -> None:
    """After a failure only those run that are failsafe; a later failure takes the place of the
    first.
    """
    seen: list[str] = []

    def fail() -> None:
        seen.append("fail")
        raise KeyError("first")

    def always() -> None:
        seen.append("always")
        raise cherrypy.HTTPError(409)

    always.failsafe = True  # type: ignore[attr-defined]
    always.priority = 60  # type: ignore[attr-defined]

    def attach() -> None:
        hooks = cherrypy.request.hooks
        hooks.attach("before_handler", fail, priority=1)
        hooks.attach("before_handler", lambda: seen.append("never"), priority=2)
        hooks.attach("before_handler", always)

    status = serve_page(lambda: "x", hooks__on_start_resource=attach).get("/").status_code
    assert seen == ["fail", "always"]
    assert status in (409, 500)


def test_hook_maps_can_be_used_directly(module: Any) -> None:
    hook = module._cprequest.Hook(len, priority=3, obj=[])
    assert "priority=3" in repr(hook)
    assert module._cprequest.Hook(len, priority=1) < hook
    hooks = module._cprequest.HookMap(["a"])
    hooks.attach("a", len)
    copied = hooks.copy()
    copied.attach("a", len)
    assert (len(hooks["a"]), len(copied["a"])) == (1, 2)


# -- errors ----------------------------------------------------------------------------------------


def test_an_http_error_has_a_status_between_400_and_599(module: Any) -> None:
    assert module.HTTPError("409 My Own").reason == "My Own"
    for status in (200, 300):
        with pytest.raises(ValueError, match="between 400 and 599"):
            module.HTTPError(status)
    with pytest.raises(module.HTTPError) as caught:
        module.HTTPError("none")
    assert caught.value.code == 500
    for status in (200, 400):
        with pytest.raises(ValueError, match="between 300 and 399"):
            module.HTTPRedirect("/", status)
    with pytest.raises(module.HTTPError):
        module.HTTPError(404)()
    with pytest.raises(module.HTTPRedirect):
        module.HTTPRedirect("/")()


def test_an_error_can_be_replaced_by_a_redirect(cherrypy: Any, serve_root: Serve) -> None:
    def fail() -> None:
        raise KeyError

    def leave() -> None:
        raise cherrypy.HTTPRedirect("/elsewhere")

    class Root:
        @cherrypy.expose
        def index(self) -> str:
            cherrypy.request.error_response = leave
            cherrypy.request.hooks.attach("before_finalize", fail)
            return "x"

    assert serve_root(Root(), follow_redirects=False).get("/").status_code == 303


def test_a_failing_error_handler_gets_a_500(cherrypy: Any, serve_root: Serve) -> None:
    def fail() -> None:
        raise KeyError("again")

    class Root:
        @exposed(cherrypy, request__error_response=fail, request__show_tracebacks=False)
        def hidden(self) -> Any:
            cherrypy.response.stream = True
            raise KeyError("first")

        @exposed(cherrypy, request__error_response=fail, request__show_tracebacks=True)
        def shown(self) -> Any:
            raise KeyError("first")

    client = serve_root(Root(), base_url="http://localhost")
    hidden, shown = client.get("/hidden"), client.get("/shown")
    assert (hidden.status_code, hidden.text.strip()) == (500, "Unrecoverable error in the server.")
    assert "again" in shown.text


def test_a_class_of_parts_may_choose_the_file_of_an_upload(
    cherrypy: Any, serve_root: Serve, tmp_path: Path
) -> None:
    """CherryPy's recipe for large uploads: the file is then moved to where it belongs."""
    read: list[str | None] = []

    class Part(cherrypy._cpreqbody.Part):
        def make_file(self) -> Any:
            return NamedTemporaryFile(dir=tmp_path, delete=False)

        def default_proc(self) -> None:
            read.append(self.filename)
            super().default_proc()

    def use() -> None:
        cherrypy.request.body.part_class = Part

    class Root:
        @exposed(cherrypy, hooks__before_request_body=use)
        def upload(self, pie: Any, note: str = "") -> str:
            folder = Path(pie.file.name).parent == tmp_path
            content = pie.file.read(), pie.fullvalue()
            return f"{folder} {content} {pie.filename} {type(pie) is Part} {note}"

    client = serve_root(Root())
    pie = ("a.txt", b"crust", "text/plain")
    answered = client.post("/upload", files={"pie": pie}, data={"note": "né"})
    assert answered.text == "True (b'crust', 'crust') a.txt True né"
    assert sorted(map(str, read)) == ["None", "a.txt"]


def test_a_part_is_read_like_a_file(serve_our_root: Serve) -> None:
    class Root:
        @ours.expose
        def upload(self, pie: Any) -> str:
            copied = io.BytesIO()
            pie.read(fp_out=copied)
            return f"{copied.getvalue()!r} {pie.read()!r}"

    client = serve_our_root(Root())
    assert client.post("/upload", files={"pie": ("a.txt", b"crust")}).text == "b'crust' b''"


def test_processors_may_be_added_for_all_bodies(
    cherrypy: Any, serve_root: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    def shout(body: Any) -> None:
        body.params["text"] = body.fp.read().decode().upper()

    monkeypatch.setitem(cherrypy._cpreqbody.Entity.processors, "text/x-quiet", shout)

    class Root:
        @cherrypy.expose
        def index(self, text: str = "none") -> str:
            cherrypy.request.body.processors.clear()
            return text

    client = serve_root(Root())
    headers = {"Content-Type": "text/x-quiet"}
    for _ in range(2):
        assert client.post("/", content=b"pie", headers=headers).text == "PIE"


def test_headers_that_the_server_adds_may_be_deleted(cherrypy: Any, serve_root: Serve) -> None:
    """Programs hide their server's name so."""

    def hide() -> None:
        headers = cherrypy.response.headers
        del headers["Server"]
        headers.pop("date")
        headers["X-Found"] = repr(headers.pop("Nothing", "default"))
        for remove in (headers.__delitem__, headers.pop):
            with pytest.raises(KeyError):
                remove("Nothing")

    class Root:
        @exposed(cherrypy, hooks__before_finalize=hide)
        def index(self) -> str:
            return "x"

    answered = serve_root(Root()).get("/")
    assert (answered.text, answered.headers["X-Found"]) == ("x", "'default'")
    assert "Server" not in answered.headers


def test_thrown_errors_reach_the_server(serve_our_root: Serve) -> None:
    def fail() -> None:
        raise KeyError("again")

    class Root:
        @exposed(ours, request__throw_errors=True)
        def index(self) -> Any:
            raise KeyError("first")

    assert serve_our_root(Root()).get("/").status_code == 500


# -- tools -----------------------------------------------------------------------------------------


def test_a_tool_need_not_be_derived_from_tool(cherrypy: Any, serve: Serve) -> None:
    class Shout:
        _name = "shout"

        def _setup(self) -> None:
            cherrypy.request.hooks.attach("before_finalize", self.shout)

        def shout(self) -> None:
            cherrypy.response.body = b"".join(cherrypy.response.body).upper()
            cherrypy.response.headers.pop("Content-Length", None)

    box = cherrypy._cptools.Toolbox("mine")
    box.shout = Shout()
    app = cherrypy.Application(page(cherrypy, lambda: "quiet"), "", {"/": {"mine.shout.on": True}})
    app.toolboxes["mine"] = box
    assert serve(app).get("/").text == "QUIET"


def test_a_custom_toolbox_works(cherrypy: Any, serve: Serve) -> None:
    box = cherrypy._cptools.Toolbox("mine")

    def mark(value: str = "none") -> None:
        cherrypy.response.headers["X-Mark"] = value

    def answer(text: str) -> bool:
        cherrypy.response.body = text.encode()
        return True

    def handle_error(text: str = "error") -> None:
        cherrypy.response.status = 503
        cherrypy.response.body = text.encode()

    box.mark = cherrypy.Tool("before_finalize", mark, priority=5)
    box.answer = cherrypy._cptools.HandlerTool(answer)
    box.failure = cherrypy._cptools.ErrorTool(handle_error)

    @box.mark(value="class")
    class Base:
        @cherrypy.expose
        def index(self) -> str:
            return "index"

    @box.mark(value="derived")
    class Root(Base):
        served = box.answer.handler(text="of the tool")

        @cherrypy.expose
        @box.failure(text="failed")
        def fails(self) -> Any:
            raise KeyError

    app = cherrypy.Application(Root())
    app.toolboxes["mine"] = box
    client = serve(app)
    assert client.get("/").headers["X-Mark"] in ("derived", "class")
    assert client.get("/served").text == "of the tool"
    assert client.get("/fails").text == "failed"
    with pytest.raises(TypeError):
        box.mark("position")
    with pytest.raises(AttributeError):
        _ = box.mark.on
    with pytest.raises(AttributeError):
        box.mark.on = True


def test_a_tool_as_a_handler_is_a_404_unless_it_has_set_the_body(
    cherrypy: Any, serve_root: Serve, tmp_path: Path
) -> None:
    (tmp_path / "note.txt").write_text("note")

    class Root:
        files = cherrypy.tools.staticdir.handler(section="/files", dir=str(tmp_path))
        note = cherrypy.tools.staticfile.handler(filename=str(tmp_path / "missing.txt"))

    client = serve_root(Root())
    assert client.get("/files/note.txt").text == "note"
    for answer in (
        client.get("/files/missing.txt"),
        client.post("/files/note.txt"),
        client.get("/note"),
    ):
        assert (answer.status_code, "was not found" in answer.text) == (404, True)


def test_a_wrapping_tool_may_override_the_method_that_wraps(cherrypy: Any, serve: Serve) -> None:
    class Quiet(cherrypy._cptools.HandlerWrapperTool):
        def __init__(self) -> None:
            super().__init__(self.shout)

        def shout(self, next_handler: Any, *segments: str, **values: str) -> str:
            return str(next_handler(*segments, **values)).upper()

        def callable(self, *args: Any, **options: Any) -> None:
            if "quiet" not in cherrypy.request.params:
                super().callable(*args, **options)

    box = cherrypy._cptools.Toolbox("mine")
    box.quiet = Quiet()

    class Root:
        @cherrypy.expose
        @box.quiet()
        def index(self, **values: str) -> str:
            return "said"

    app = cherrypy.Application(Root())
    app.toolboxes["mine"] = box
    client = serve(app)
    assert (client.get("/").text, client.get("/?quiet=1").text) == ("SAID", "said")


def test_a_tool_is_not_switched_on_without_an_option(cherrypy: Any, serve_root: Serve) -> None:
    """Otherwise the page would be sent without its access check."""

    class Root:
        @exposed(cherrypy, tools__auth_basic=True)
        def index(self) -> str:
            return "secret"

    assert serve_root(Root()).get("/").status_code == 500


def test_a_redirect_may_have_another_default_status(cherrypy: Any, serve_root: Serve) -> None:
    class Kept(cherrypy.HTTPRedirect):
        default_status = 307

    class Root:
        @cherrypy.expose
        def index(self) -> Any:
            raise Kept("/other")

        @cherrypy.expose
        def moved(self) -> Any:
            raise Kept("/other", 301)

    client = serve_root(Root())
    assert (client.post("/").status_code, client.get("/moved").status_code) == (307, 301)


def test_a_namespace_may_be_a_context_manager(
    cherrypy: Any, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Collected:
        def __enter__(self) -> Any:
            self.found: dict[str, Any] = {}
            return self.found.__setitem__

        def __exit__(self, *failure: Any) -> None:
            cherrypy.request.mine = self.found

    class Root:
        @exposed(cherrypy, gathered__a=1, gathered__b=2)
        def index(self) -> str:
            return repr(cherrypy.request.mine)

        @cherrypy.expose
        def none(self) -> str:
            return repr(cherrypy.request.mine)

    app = cherrypy.Application(Root())
    monkeypatch.setitem(app.request_class.namespaces, "gathered", Collected())
    client = serve(app)
    assert (client.get("/").text, client.get("/none").text) == ("{'a': 1, 'b': 2}", "{}")


def test_an_invalid_tool_is_refused(serve_page: Serve) -> None:
    assert serve_page(lambda: "x", tools__nothing__on=True).get("/").status_code == 500


def test_a_tool_can_be_replaced_while_the_site_runs(serve_our_page: Serve) -> None:
    def mark(value: str) -> Callable[[], None]:
        def set_header() -> None:
            ours.response.headers["X-Mark"] = value

        return set_header

    client = serve_our_page(lambda: "x", tools__changing__on=True)
    ours.tools.changing = ours.Tool("before_finalize", mark("first"))
    assert client.get("/").headers["X-Mark"] == "first"
    ours.tools.changing = ours.Tool("before_finalize", mark("second"))
    assert client.get("/").headers["X-Mark"] == "second"


def test_a_custom_configuration_namespace_is_called(
    serve_our_page: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Any] = []
    monkeypatch.setitem(
        ours._cprequest.Request.namespaces, "db", lambda name, value: seen.append((name, value))
    )

    serve_our_page(lambda: "x", db__name="orders").get("/")
    assert seen == [("name", "orders")]


# -- configuration ---------------------------------------------------------------------------------


def test_the_configuration_may_change_while_the_site_runs(cherrypy: Any, serve: Serve) -> None:
    class Root:
        _cp_config = {"own.value": 1}

        @cherrypy.expose
        def index(self) -> str:
            return repr(
                [
                    cherrypy.request.config.get(name)
                    for name in ("own.value", "own.section", "own.global")
                ]
            )

    app = cherrypy.Application(Root(), "", {"/": {"own.section": 1}})
    client = serve(app)
    assert client.get("/").text == "[1, 1, None]"
    Root._cp_config["own.value"] = 2
    app.config["/"]["own.section"] = 2
    cherrypy.config["own.global"] = 2
    assert client.get("/").text == "[2, 2, 2]"
    del cherrypy.config["own.global"]
    app.merge({"/": {"own.section": 3}})
    assert client.get("/").text == "[2, 3, None]"


def test_tables_of_many_configurations_are_bounded(
    serve_our_root: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Plans and sections are kept in bounded tables."""
    monkeypatch.setattr("micropie_compat.cherrypy.plans._MOST", 2)

    class Root:
        def _cp_dispatch(self, vpath: list[str]) -> Any:
            node = Root()
            node._cp_config = {"own.name": vpath.pop(0), "tools.staticdir.dir": "/x"}  # type: ignore[attr-defined]
            return node

        @ours.expose
        def index(self) -> str:
            return f"{ours.request.config['own.name']} {ours.request.config['tools.staticdir.section']}"

    client = serve_our_root(Root())
    for number in range(260):
        assert client.get(f"/n{number}/").text == f"n{number} /n{number}"


def test_configuration_files_are_read(module: Any, tmp_path: Path) -> None:
    text = (
        '[global]\nown.text = "a"\nown.list = [1, 2.5, None, True, {"a": (1,)}]\n'
        "own.sum = 1 + 2 + 5\nown.module = os.path.sep\nown.call = dict(a=int('5'))\n"
        "own.lib = cherrypy.lib.httputil.urljoin\nown.item = [1, 2][1]\n"
        "[/path]\nroot = '/srv'\nown.path = %(root)s + '/x'\n"
    )
    file = tmp_path / "app.conf"
    file.write_text(text, encoding="utf-8")
    app = module.Application(None, "", str(file))
    app.merge(io.StringIO("[/other]\nown.value = 'x'\n"))
    values = app.config["global"]
    assert values["own.text"] == "a"
    assert values["own.list"] == [1, 2.5, None, True, {"a": (1,)}]
    assert (values["own.sum"], values["own.module"], values["own.call"]) == (8, "/", {"a": 5})
    assert values["own.lib"]("/a/", "/b") == "/a/b"
    assert values["own.item"] == 2
    assert app.config["/path"]["own.path"] == "/srv/x"
    assert app.config["/other"] == {"own.value": "x"}


def test_operators_in_configuration_files_are_evaluated(module: Any) -> None:
    text = "[/]\nown.value = [-1.5 * 2, 'a' * 2, 'a' + 'b']\nown.none =\n"
    app = module.Application(None, "", io.StringIO(text))
    assert app.config["/"] == {"own.value": [-3.0, "aa", "ab"], "own.none": ""}


INVALID = (
    """unquoted text;no_such_name;lambda: 1;os.nothing;1 // 2;~1;+1;1 - 1;not 1;1 < 2;{1, 2}"""
)


@pytest.mark.parametrize("value", INVALID.split(";"))
def test_invalid_values_in_configuration_files_are_refused(module: Any, value: str) -> None:
    with pytest.raises(ValueError, match="must be valid Python"):
        module.Application(None, "", io.StringIO(f"[/]\nown.value = {value}\n"))


def test_dictionaries_are_not_unpacked_in_configuration_files() -> None:
    with pytest.raises(ValueError, match="must be valid Python"):
        ours.Application(None, "", io.StringIO("[/]\nown.value = {**{}}\n"))


def test_configuration_files_need_sections(module: Any) -> None:
    with pytest.raises(ValueError, match="section"):
        module.Application(None, "", {"tools.gzip.on": True})


def test_the_global_configuration_is_updated_from_a_file(module: Any, tmp_path: Path) -> None:
    before = dict(module.config)
    file = tmp_path / "site.conf"
    file.write_text("[global]\nown.value = 5\ntools.staticdir.dir = 'x'\n", encoding="utf-8")
    try:
        module.config.update(str(file))
        assert module.config["own.value"] == 5
        assert module.config["tools.staticdir.section"] == "global"
        module.config.update({"environment": "production", "log.screen": False})
        assert module.config["request.show_tracebacks"] is False
        module.config.update({})
        module.config["own.value"] = 6
        assert module.config["own.value"] == 6
        module.config.reset()
        assert "own.value" not in module.config
    finally:
        module.config.reset()
        module.config.update({key: value for key, value in before.items() if key != "environment"})


def test_several_config_decorators_add_up(module: Any) -> None:
    @module.config(**{"own.a": 1})
    @module.config(**{"own.b": 2})
    def function() -> None: ...

    assert function._cp_config == {"own.a": 1, "own.b": 2}


def test_hooks_can_be_configured_by_name(cherrypy: Any, serve_page: Serve) -> None:
    marked.module = cherrypy  # type: ignore[attr-defined]
    answer = serve_page(lambda: "x", hooks__before_finalize=f"{__name__}.marked").get("/")
    assert answer.headers["X-Marked"] == "yes"


def marked() -> None:
    marked.module.response.headers["X-Marked"] = "yes"  # type: ignore[attr-defined]


# -- the tree --------------------------------------------------------------------------------------


def tree_of(cherrypy: Any) -> Any:
    return (cherrypy._cptree if cherrypy is original else cherrypy).Tree()


def test_a_tree_mounts_applications(cherrypy: Any, serve: Serve) -> None:
    class Root:
        def __init__(self, name: str) -> None:
            self.name = name

        @cherrypy.expose
        def index(self) -> str:
            return f"{self.name} {cherrypy.request.script_name}"

    tree = tree_of(cherrypy)
    app = tree.mount(Root("first"), "/first/")
    assert app.script_name == "/first"
    tree.mount(cherrypy.Application(Root("second"), "/second"), "", {"/": {"own.x": 1}})
    assert tree.apps["/second"].config["/"]["own.x"] == 1
    with pytest.raises(ValueError, match="different script name"):
        tree.mount(cherrypy.Application(Root("x"), "/x"), "/y")
    with pytest.raises(TypeError, match="may not be None"):
        tree.mount(Root("x"), None)
    client = serve(tree, **({} if cherrypy is original else {"validate": False}))
    assert client.get("/first/").text == "first /first"
    assert client.get("/second/").text == "second /second"
    assert client.get("/third").status_code == 404
    assert tree.script_name("/first/a/b") == "/first"
    assert tree.script_name("/third") is None
    tree.mount(Root("root"), "")
    assert client.get("/").text == "root "
    del tree.apps["/first"]
    assert client.get("/first/").status_code == 404
    assert "Application" in repr(app)


def test_script_name_is_the_prefix_of_the_application(module: Any) -> None:
    assert module.Application(None, "/a/").script_name == "/a"
    app = module.Application(None)
    app.script_name = "/b/"
    assert app.script_name == "/b"
    assert app.find_config("/x/y", "own.none", "default") == "default"
    app.merge({"/x": {"own.a": 1}, "/": {"own.b": 2}})
    assert app.find_config("/x/y", "own.a") == 1
    assert app.find_config("/x/y", "own.b") == 2
    assert app.find_config("", "own.b") == 2


def test_an_application_works_below_the_server_s_prefix(serve_ours: Serve) -> None:
    outer = App()
    outer.mount(
        "/below",
        ours.Application(page(ours, lambda: f"{ours.request.script_name} {ours.url('/x')}"), None),
    )
    assert serve_ours(outer).get("/below/").text.startswith("/below http://")
    assert ours.Application(None, None).script_name == ""
    app = ours.Application(None)
    app.script_name = None
    assert app.script_name == ""


@pytest.mark.parametrize(
    ("served", "by"),
    [
        ("application", "server"),
        ("any prefix", "server"),
        ("application", "mount"),
        ("any prefix", "mount"),
        ("tree", "mount"),
    ],
)
def test_the_bare_prefix_is_redirected(cherrypy: Any, serve: Serve, served: str, by: str) -> None:
    class Root:
        @cherrypy.expose
        def index(self) -> str:
            return '<a href="item/1">one</a>'

        @cherrypy.expose
        @cherrypy.tools.trailing_slash(on=False)
        def default(self, name: str) -> str:
            return f"{cherrypy.request.script_name} {cherrypy.request.path_info}"

    tree = tree_of(cherrypy)
    tree.mount(Root(), "/old")
    mounted = tree
    if served != "tree":
        mounted = cherrypy.Application(Root(), "/old" if served == "application" else None)
    outer = App()
    outer.mount("/old", mounted)
    client = serve(outer) if by == "mount" else serve(mounted, root_path="/old")
    for query in ("", "?a=1"):
        response = client.get(f"http://testserver/old{query}")
        assert response.status_code == 301
        assert response.headers["Location"] == f"http://testserver/old/{query}"
    assert client.get("http://testserver/old/").text == '<a href="item/1">one</a>'
    assert client.get("http://testserver/old/x").text == "/old /x"


SLASHES = {
    "/shop/admin/x": "/admin/x",
    "/shop//admin/x": "/admin/x",
    "//shop/admin": "/admin",
    "///shop///admin///x//": "/admin/x/",
    "/shop/%2Fadmin/x": "/admin/x",
    "/shop/%2F%2fadmin": "/admin",
    "/shop/a//b": "/a/b",
    "/shop/a%2F%2Fb": "/a/b",
    "/shop/a///": "/a/",
    "/shop//": "/",
    "/shop/inside?to=//admin/x": "/admin/x",
}


@pytest.mark.parametrize("target", SLASHES)
def test_R12_repeated_slashes_are_one_slash(cherrypy: Any, serve: Serve, target: str) -> None:
    """A tool may protect pages by ``path_info``."""

    def guard() -> None:
        if cherrypy.request.path_info.startswith("/admin"):
            raise cherrypy.HTTPError(403)

    class Root:
        @cherrypy.expose
        def default(self, *segments: str, **values: str) -> str:
            return f"{cherrypy.request.path_info} {cherrypy.url()}"

        index = default

        @cherrypy.expose
        def inside(self, to: str) -> None:
            raise cherrypy.InternalRedirect(to)

    tree = tree_of(cherrypy)
    tree.mount(Root(), "/shop", {"/": {"hooks.before_handler": guard}})
    tree.mount(Root(), "")
    client = serve(tree, **({} if cherrypy is original else {"validate": False}))
    got = client.get("/", extensions={"target": target.encode()})
    path = SLASHES[target]
    if path.startswith("/admin"):
        assert got.status_code == 403
    else:
        assert got.text == f"{path} {client.base_url}/shop{path}".replace(
            "testserver//", "testserver/"
        )


def test_a_graft_gets_its_path_as_it_was_sent(make_client: MakeClient) -> None:
    def grafted(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [environ["PATH_INFO"].encode()]

    tree = tree_of(ours)
    tree.graft(grafted, "/old/shop")
    client = make_client(tree, validate=False)
    statuses = {"/old/shop/a//b": 200, "//old/shop/a": 404, "/old//shop/a": 404, "/old/shop//": 200}
    for target, status in statuses.items():
        got = client.get("/", extensions={"target": target.encode()})
        assert (got.status_code, got.text) == (
            status,
            target.removeprefix("/old/shop") if status == 200 else "",
        )


def test_cookies_with_names_of_php_stop_no_page(cherrypy: Any, serve_page: Serve) -> None:
    client = serve_page(lambda: repr(sorted(cherrypy.request.cookie)))
    for cookie in ("cart[pie]=2", "my cart=2", "a\\b=2", 'a"b=2', "a]=2", "\xfc=2"):
        sent = [(b"Cookie", f"a=1; {cookie}".encode("latin-1"))]
        got = client.get("/", headers=sent)
        loses_all = cherrypy is original and cookie[0] == "m"
        assert (got.status_code, got.text) == (200, "[]" if loses_all else "['a']"), cookie


def test_wsgi_applications_can_be_grafted(cherrypy: Any, serve: Serve) -> None:
    def wsgi(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [f"{environ['SCRIPT_NAME']}|{environ['PATH_INFO']}".encode()]

    tree = tree_of(cherrypy)
    tree.graft(wsgi, "/foreign")
    tree.mount(page(cherrypy, lambda: "inner"), "/foreign/own")
    client = serve(tree)
    assert client.get("/foreign/x").text == client.get("/foreign/x").text == "/foreign|/x"
    assert client.get("/foreign/own/").text == "inner"
    tree.graft(
        lambda environ, start_response: [*wsgi(environ, start_response)[:], b"!"], "/foreign"
    )
    assert client.get("/foreign/x").text == "/foreign|/x!"


@pytest.mark.parametrize("world", ["asyncio", "trio"])
def test_a_grafted_application_keeps_its_websockets(connect: MakeClient, world: str) -> None:
    async def asgi(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.send", "text": f"{scope['root_path']} {scope['path']}"})
        await send({"type": "websocket.close"})

    tree = tree_of(ours)
    tree.graft(asgi, "/foreign")
    tree.graft(lambda environ, start_response: [], "/wsgi")
    tree.mount(page(ours, lambda: "own"), "/own")
    client = connect(tree, world)
    with client.websocket("/foreign/talk") as socket:
        assert socket.receive_text() == "/foreign /foreign/talk"
    for path in ("/wsgi/talk", "/own/talk", "/none"):
        with pytest.raises(WebSocketRefused, match="404"), client.websocket(path):
            pass


def test_missing_pipelines_and_tools_raise_errors_with_advice() -> None:
    with pytest.raises(NotImplementedError, match="middlewares"):
        ours.Application(None, "", {"/": {"wsgi.pipeline": []}})
    with pytest.raises(AttributeError, match="dual"):
        ours.Application(None).wsgiapp.pipeline.append(("name", object))
    with pytest.raises(AttributeError, match="CPWebCase"):
        ours.Application(None).release_serving()
    with pytest.raises(AttributeError, match="leave it out"):
        ours.tools.nsgmls()


def test_a_custom_request_class_is_used(serve_ours: Serve) -> None:
    class OwnRequest(ours.Application.request_class):
        greeting = "own"

    app = ours.Application(page(ours, lambda: str(ours.request.greeting)))
    app.request_class = OwnRequest
    assert serve_ours(app).get("/").text == "own"


# -- addresses, proxies, logs ----------------------------------------------------------------------


def test_url_works_outside_requests(module: Any) -> None:
    assert module.url("/x", base="http://b") == "http://b/x"
    assert module.url("/x", script_name="/s", base="http://b") == "http://b/s/x"
    assert module.url("/x").endswith("/x")
    assert module.url("/x", qs={"a": 1}, relative="server") == "/x?a=1"
    assert module.url("/x", script_name="/s", base="http://b", relative="server") == "/s/x"


def test_request_session_and_serving_proxies_store_attributes(
    cherrypy: Any, serve_root: Serve
) -> None:
    class Root:
        _cp_config = {"tools.sessions.on": True}

        @cherrypy.expose
        def index(self) -> str:
            serving, session = cherrypy.serving, cherrypy.session
            serving.own = 1
            session["a"] = 1
            del session["a"]
            session["b"] = 2
            cherrypy.request.own = serving.own
            del cherrypy.request.own
            found = ["b" in session, list(session.keys()), "status" in dir(cherrypy.response)]
            return repr([*found, hasattr(cherrypy.request, "own"), bool(cherrypy.request)])

    assert serve_root(Root()).get("/").text == "[True, ['b'], True, False, True]"


def test_outside_requests_the_proxies_have_defaults(module: Any) -> None:
    assert module.request.method == "GET"
    assert module.request.app is None
    assert module.request.config is None or module is ours
    assert module.request.remote.ip
    assert module.response.status is None
    assert module.request.headers == {}
    assert module.request.params == {}
    with pytest.raises(AttributeError):
        _ = module.serving.session
    module.thread_data.value = 5
    assert module.thread_data.value == 5
    request, response = module.serving.request, module.serving.response
    module.serving.load(request, response)
    assert module.serving.request is request
    module.serving.clear()


def test_outside_requests_the_serving_proxy_stores_attributes() -> None:
    ours.serving.own = 1
    assert ours.serving.own == 1
    del ours.serving.own
    assert list(ours.request.cookie) == []
    assert ours.request.toolmaps == {}
    assert ours.request.error_page == {}
    assert callable(ours.request.error_response)
    assert not any(ours.request.hooks.values())
    assert ours.request.config
    ours.serving.request.items = [1]
    ours.serving.session = {"a": 1}
    try:
        assert list(ours.session) == ["a"]
        assert ours.session["a"] == 1
    finally:
        del ours.serving.session
    ours.request.close()
    ours.request.close()
    ours.serving.clear()


def test_errors_and_accesses_are_logged(
    cherrypy: Any, serve: Serve, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    class Root:
        @cherrypy.expose
        def index(self, **values: str) -> str:
            cherrypy.log("from the handler", context="HERE")
            try:
                raise KeyError("the key")
            except KeyError:
                cherrypy.log("failed", traceback=True)
            return "x"

        @cherrypy.expose
        def error(self) -> Any:
            raise cherrypy.HTTPError(404)

    errors, accesses = tmp_path / "error.log", tmp_path / "access.log"
    config = {
        "/": {"log.error_file": str(errors), "log.access_file": str(accesses), "log.screen": False}
    }
    app = cherrypy.Application(Root(), "", config)
    # They are opened at once: the process that serves may not be allowed to.
    assert (errors.read_text(), accesses.read_text()) == ("", "")
    client = serve(app)
    client.get("/?q=%22", headers={"User-Agent": 'an "agent"', "Referer": "http://r"})
    client.get("/error")
    text, lines = errors.read_text(), accesses.read_text().splitlines()
    assert "HERE from the handler" in text
    assert "KeyError: 'the key'" in text
    assert '"GET /?q=%22 HTTP/1.1" 200 1 "http://r" "an \\"agent\\""' in lines[0]
    assert '"GET /error HTTP/1.1" 404 ' in lines[1]
    assert app.log.error_file == str(errors)
    assert app.log.access_file == str(accesses)
    assert not app.log.screen
    app.log.screen = True
    assert app.log.screen
    app.log.screen = False
    app.log.error_file = ""
    app.log.access_file = ""
    assert app.log.error_file == ""


@pytest.mark.parametrize(
    ("method", "path", "logged"),
    [
        ("GET", "/", "200 -"),
        ("GET", "/?text=pie", "200 3"),
        ("HEAD", "/?text=pie", "200 3"),
        ("HEAD", "/", "200 -"),
        ("GET", "/?status=204&text=pie", "204 -"),
        ("GET", "/?status=304&text=pie", "304 -"),
        ("GET", "/?status=404", "404 -"),
        ("GET", "/?stated=0", "200 0"),
        ("GET", "/?stream=yes&text=pie", "200 -"),
        ("GET", "/empty.txt", "200 -"),
        ("GET", "/short.txt", "200 3"),
        ("HEAD", "/short.txt", "200 3"),
    ],
)
def test_the_access_log_has_the_size_of_the_body(
    cherrypy: Any, serve: Serve, tmp_path: Path, method: str, path: str, logged: str
) -> None:
    """An empty body's size is "-", unless the program has set the Content-Length itself."""

    def index(text: str = "", status: int = 200, stated: str = "", stream: str = "") -> bytes:
        cherrypy.response.status = int(status)
        cherrypy.response.stream = bool(stream)
        if stated:
            cherrypy.response.headers.update(
                {"Content-Type": "image/png", "Content-Length": stated}
            )
        return text.encode()

    (tmp_path / "empty.txt").write_text("")
    (tmp_path / "short.txt").write_text("pie")
    log = tmp_path / "access.log"
    config = {
        "log.access_file": str(log),
        "tools.staticdir.on": True,
        "tools.staticdir.dir": str(tmp_path),
    }
    client = serve(cherrypy.Application(page(cherrypy, index), "", {"/": config}))
    client.request(method, path)
    assert f' HTTP/1.1" {logged} "' in log.read_text()


@pytest.mark.parametrize("first", [["a"], []])
def test_a_stream_that_fails_is_logged_as_an_error(
    first: list[str], cherrypy: Any, serve_root: Serve, tmp_path: Path
) -> None:
    errors = tmp_path / "error.log"

    def stream() -> Iterator[str]:
        yield from first
        raise ValueError("the disk is full")

    config = {"response.stream": True, "log.error_file": str(errors)}
    client = serve_root(page(cherrypy, stream), {"/": config})
    with contextlib.suppress(ValueError):
        client.get("/")
    assert errors.read_text().rstrip().endswith("ValueError: the disk is full")


def test_a_client_that_disconnects_from_a_stream_is_no_error(
    serve_our_root: Serve, tmp_path: Path
) -> None:
    errors = tmp_path / "error.log"

    def stream() -> Iterator[str]:
        yield "a"
        raise ClientDisconnect

    config = {"response.stream": True, "log.error_file": str(errors)}
    client = serve_our_root(page(ours, stream), {"/": config}, validate=False)
    with contextlib.suppress(Exception):  # the response is incomplete, but nobody is there
        client.get("/")
    assert errors.read_text() == ""


def test_errors_may_be_logged_by_the_server(
    side: str, cherrypy: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Root:
        @cherrypy.expose
        def index(self) -> str:
            cherrypy.log("from the handler")
            return "x"

    app = cherrypy.Application(Root(), "", {"/": {"log.wsgi": True}})
    assert app.log.wsgi
    app.log("outside of requests")
    ask = Request("GET", "/", {"Host": "pies.example"}, b"")
    monkeypatch.setattr(sys, "stderr", errors := io.StringIO())
    if side in ("original", "wsgi"):
        ask_wsgi(app, ask)
    else:
        anyio.run(ask_asgi, app, ask, backend=side)
    assert [line.rpartition("]")[2].strip() for line in errors.getvalue().splitlines()] == [
        "from the handler"
    ]
    monkeypatch.setattr(sys, "stderr", closed := io.StringIO())
    closed.close()
    monkeypatch.setattr(logging, "raiseExceptions", False)
    if side in ("original", "wsgi"):
        assert ask_wsgi(app, ask).status == 200
    app.log.wsgi = False
    assert not app.log.wsgi
    if side == "wsgi":
        app.wsgi_shutdown()


BY_DEFAULT = """
import sys
from compat.tests.exchange import Request, ask_wsgi
from micropie_compat import install

if sys.argv[1] == "ours":
    install("cherrypy")
import cherrypy

class Root:
    @cherrypy.expose
    def index(self):
        cherrypy.log("from the handler")
        raise KeyError("the key")

cherrypy.tree.mount(Root())
ask_wsgi(cherrypy.tree, Request("GET", "/", {"Host": "pies.example"}, b""))
"""


@pytest.mark.processes
@pytest.mark.parametrize("whose", ["original", "ours"])
def test_logs_are_written_to_the_terminal_by_default(whose: str) -> None:
    command = [sys.executable, "-c", BY_DEFAULT, whose]
    done = subprocess.run(
        command, capture_output=True, text=True, env=environment(), timeout=PATIENCE, check=True
    )
    assert '"GET / HTTP/1.1" 500 ' in done.stdout
    assert "from the handler" in done.stderr
    assert done.stderr.count("\nKeyError: 'the key'\n") == 1


def test_each_log_can_be_switched_to_the_terminal(module: Any) -> None:
    log = module.log.__class__(logger_root=f"test_of_switches_{module.__name__}")
    shown = io.StringIO()
    log._set_screen_handler(log.access_log, True, stream=shown)
    log.access_log.info("one line")
    log._set_screen_handler(log.access_log, False)
    log.access_log.info("another line")
    assert shown.getvalue() == "one line\n"
    log._set_screen_handler(log.error_log, True)
    assert log.screen
    assert log._get_builtin_handler(log.error_log, "screen").stream is sys.stderr
    log.screen = False
    assert log._get_builtin_handler(log.error_log, "screen") is None


def test_nothing_is_logged_to_a_closed_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The test runner closes its own before the process exits, which the engine logs."""
    log = ours.log.__class__(logger_root="test_of_closed_logs")
    with io.StringIO() as closed, monkeypatch.context() as patched:
        patched.setattr("sys.stderr", closed)
        log.screen = True
        log("one line")
        assert closed.getvalue().endswith(" one line\n")
    log("another line")
    assert capsys.readouterr().err == ""


def test_logs_can_have_a_custom_format(serve_ours: Serve, caplog: pytest.LogCaptureFixture) -> None:
    app = ours.Application(page(ours, lambda: "x"))
    client = serve_ours(app)
    app.log.access_log_format = "{s} {z} {i}"
    with caplog.at_level(logging.INFO):
        client.get("/")
        app.log.access_log_format = "{unknown}"
        client.get("/")
    assert any(record.message.startswith("200 2") for record in caplog.records)
    assert "KeyError" in caplog.text
    app.log.access_log.setLevel(logging.ERROR)
    assert not notes_requests(app.log)


def test_logging_works_outside_requests(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = ours.log.__class__(logger_root="test_of_logs")
    log.error_file = str(tmp_path / "error.log")
    log("one line")
    log("a failure", traceback=(KeyError, KeyError("given"), None))
    log.reopen_files()
    again = ours.log.__class__(
        logger_root="test_of_logs"
    )  # a second one has the same loggers, and adds nothing to them
    again("another line")
    assert again.error_log.handlers == log.error_log.handlers
    text = (tmp_path / "error.log").read_text()
    assert "one line" in text
    assert "another line" in text
    assert "KeyError: 'given'" in text
    log.error_file = None
    log.access_log.addHandler(logging.StreamHandler())
    log.access()
    assert "- - [" in capsys.readouterr().err


def test_a_deleted_session_attribute_is_created_again(cherrypy: Any, serve_root: Serve) -> None:
    """A program may delete it, to change the class of its sessions."""

    class Root:
        @exposed(cherrypy, **{"tools.sessions.on": True})
        def index(self) -> str:
            cherrypy.session["a"] = "1"
            return str(cherrypy.session["a"])

    client = serve_root(Root())
    if hasattr(cherrypy, "session"):
        del cherrypy.session
    for _ in range(2):
        assert client.get("/").text == "1"
        del cherrypy.session
