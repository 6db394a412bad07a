"""The names of the originals that programs and plugins import: they are here, or say what to write
instead.
"""

from __future__ import annotations

import importlib
import pkgutil
import re
import types
from threading import Event
from typing import Any

import bottle as original_bottle
import cherrypy as original_cherrypy
import pytest

from micropie_compat import advice_for
from micropie_compat import bottle as our_bottle
from micropie_compat import cherrypy as ours
from micropie_compat.cherrypy.process.servers import ServerAdapter
from micropie_compat.cherrypy.process.wspbus import Bus
from tests.support.clients import MakeClient

# Of nobody's use, or of Python 2: ``micropie check`` tells those who have them.
LEFT_OUT = """callable depr getargspec getfullargspec main make_default_app_wrapper new_module normalize print_function py
UTC timezone""".split()


@pytest.mark.parametrize(
    "name",
    [name for name in vars(original_bottle) if not name.startswith("_")]
    + ["_MultipartParser", "_parse_http_header", "_parse_qsl", "_re_flatten"],
)
def test_each_bottle_name_exists_or_suggests_a_replacement(name: str) -> None:
    advice = advice_for("bottle", f"bottle.{name}")
    if advice is None:
        getattr(our_bottle, name)
    elif name in LEFT_OUT:
        assert not hasattr(our_bottle, name)
    else:
        with pytest.raises(ImportError, match=re.escape(advice)):
            getattr(our_bottle, name)


@pytest.mark.filterwarnings("ignore:Warning. Use of deprecated feature:DeprecationWarning")
def test_a_star_import_brings_bottle_s_names(bottle: Any) -> None:
    names: dict[str, Any] = {}
    exec(f"from {bottle.__name__} import *", names)
    assert names["json_loads"](names["json_dumps"]({"a": 1})) == {"a": 1}
    assert (names["os"].sep, names["urlquote"]("ä"), names["py3k"]) == ("/", "%C3%A4", True)
    assert names["unicode"] is str
    assert names["SimpleTemplate"]("{{a}}").render(a=1) == "1"
    assert names["threading"].Lock
    signs = [names["cookie_is_encoded"](value) for value in (b"!a?b", b"a?b", b"!ab")]
    assert signs == [True, False, False]
    assert names["timezone"].utc
    assert issubclass(names["MultiDict"], names["DictMixin"])
    assert bottle._parse_qsl("a=1&b=&a=%20") == [("a", "1"), ("b", ""), ("a", " ")]


def modules_of_cherrypy() -> list[str]:
    left_out = ("test", "tutorial", "scaffold", "win32", "_cpmodpy", "__main__")
    found = pkgutil.walk_packages(original_cherrypy.__path__, "cherrypy.", onerror=str)
    return [
        module.name
        for module in found
        if not any(part in left_out for part in module.name.split("."))
    ]


@pytest.mark.parametrize("module", modules_of_cherrypy())
def test_each_cherrypy_module_exists_or_suggests_a_replacement(module: str) -> None:
    if advice_for("cherrypy", module) is None:
        importlib.import_module(f"micropie_compat.{module}")


@pytest.mark.parametrize(
    "name",
    """_ThreadLocalProxy _cpcompat.HTTPSConnection _cpconfig.Config _cpdispatch.PageHandler _cperror._HTTPErrorTemplate
_cplogging.LogManager _cpreqbody.Part _cprequest.hookpoints _cprequest.Hook _cptools.HandlerWrapperTool
_cptree.Application _helper.popargs _helper.url lib.headers.parse_header lib.locking lib.reprconf.Parser
lib.reprconf.Config process.servers.ServerAdapter""".split(),
)
def test_internal_cherrypy_names_exist(module: Any, name: str) -> None:
    importlib.import_module(f"{module.__name__}.process.servers")
    importlib.import_module(f"{module.__name__}.lib.headers")
    found = module
    for part in name.split("."):
        found = getattr(found, part)
    assert advice_for("cherrypy", f"cherrypy.{name}") is None
    assert not hasattr(module._cpcompat, "none")


def test_a_name_set_later_needs_no_advice(monkeypatch: pytest.MonkeyPatch) -> None:
    cherrypy = importlib.import_module("micropie_compat.cherrypy")
    monkeypatch.delattr(cherrypy, "_cache", raising=False)
    assert advice_for("cherrypy", "cherrypy._cache") is None


@pytest.mark.parametrize("name", ["headers", "locking", "reprconf"])
def test_an_unimported_library_module_is_recognised(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.delattr(ours.lib, name, raising=False)
    assert getattr(ours.lib, name) is importlib.import_module(f"{ours.__name__}.lib.{name}")


def test_internal_cherrypy_functions_work(module: Any) -> None:
    compat = importlib.import_module(f"{module.__name__}._cpcompat")
    assert (compat.ntob("ä"), compat.ntou("ä"), compat.tonative(b"\xe4"), compat.tonative("ä")) == (
        b"\xe4",
        *"äää",
    )
    with pytest.raises(TypeError, match="native str"):
        compat.ntob(b"")
    assert isinstance("", compat.text_or_bytes)
    assert b"".join(module._json.encode({"a": 1})) == b'{"a": 1}'
    assert module._json.decode('{"a": 1}') == {"a": 1}
    headers = importlib.import_module(f"{module.__name__}.lib.headers")
    assert headers.parse_header('form-data; name="a"') == ("form-data", {"name": "a"})
    assert module._ThreadLocalProxy("request").method == "GET"


def test_cherrypy_s_default_error_page_can_be_replaced(
    make_client: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ours._cperror, "_HTTPErrorTemplate", "own %(status)s")
    assert make_client(ours.Application(object(), "")).get("/none").text == "own 404 Not Found"


def test_a_name_unknown_to_both_frameworks_gets_no_advice() -> None:
    assert advice_for("bottle", "json.nothing") is None
    assert advice_for("bottle", "gevent.monkey") is not None
    assert advice_for("cherrypy", "cherrypy.lib.static.serve_file.x") is None


# -- properties ------------------------------------------------------------------------------------


def test_bottle_s_property_helpers_work(bottle: Any) -> None:
    calls: list[str] = []

    class Thing:
        def __init__(self) -> None:
            self.kept: dict[str, Any] = {}

        @bottle.DictProperty("kept")
        def own(self) -> str:
            calls.append("own")
            return "made"

        @bottle.DictProperty("kept", "other", read_only=True)
        def fixed(self) -> str:
            return "fixed"

        @bottle.lazy_attribute
        def of_class(cls: Any) -> str:  # noqa: N805 - it is called with the class
            calls.append("class")
            return str(cls.__name__)

    thing = Thing()
    assert (thing.own, thing.own, thing.fixed) == ("made", "made", "fixed")
    assert thing.kept == {"own": "made", "other": "fixed"}
    thing.own = "set"
    assert thing.own == "set"
    del thing.own
    assert (thing.kept, isinstance(Thing.own, bottle.DictProperty)) == ({"other": "fixed"}, True)
    with pytest.raises(AttributeError, match="Read-Only"):
        thing.fixed = "x"
    with pytest.raises(AttributeError, match="Read-Only"):
        del thing.fixed
    assert (Thing.of_class, thing.of_class, calls) == ("Thing", "Thing", ["own", "class"])


# -- names that programs set -----------------------------------------------------------------------


def test_a_program_may_set_bottle_s_names(
    make_client: MakeClient, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    (tmp_path / "pie.tpl").write_text("pie {{x}}")
    monkeypatch.setattr(our_bottle, "TEMPLATE_PATH", [str(tmp_path)])
    assert our_bottle.template("pie", x=1) == "pie 1"
    monkeypatch.setattr(our_bottle, "DEBUG", True)
    (tmp_path / "pie.tpl").write_text("new {{x}}")
    assert our_bottle.template("pie", x=1) == "new 1"
    client = make_client(our_bottle.Bottle())
    assert "<h1>Error: 404 Not Found</h1>" in client.get("/").text
    monkeypatch.setattr(our_bottle, "ERROR_PAGE_TEMPLATE", "own {{e.status}}: {{e.body}}")
    assert client.get("/").text == "own 404 Not Found: Not found: &#039;/&#039;"


def test_template_errors_are_the_compatibility_module_s(bottle: Any) -> None:
    with pytest.raises(bottle.TemplateError, match="not found"):
        bottle.template("nowhere")
    assert issubclass(bottle.StplSyntaxError, bottle.TemplateError)


def test_an_unreadable_form_gets_an_error(bottle: Any) -> None:
    environ = {
        "CONTENT_TYPE": "multipart/form-data; boundary=b",
        "CONTENT_LENGTH": "3",
        "wsgi.input": original_bottle.BytesIO(b"--b"),
    }
    with pytest.raises(bottle.MultipartError):
        bottle.BaseRequest(environ).POST  # noqa: B018


# -- servers ---------------------------------------------------------------------------------------


class OwnServer:
    """As cheroot's are."""

    ready = False

    def __init__(self, failure: Exception | None = None) -> None:
        self.failure = failure
        self.stopped = Event()

    def start(self) -> None:
        if self.failure:
            raise self.failure
        self.ready = True
        self.stopped.wait()

    def stop(self) -> None:
        self.ready = False
        self.stopped.set()


def test_a_program_s_own_server_follows_the_bus() -> None:
    bus, server = Bus(), OwnServer()
    log: list[str] = []
    bus.subscribe("log", lambda message, level: log.append(message))
    adapter = ServerAdapter(bus, server, ("pies", 80))
    adapter.subscribe()
    bus.start()
    assert adapter.running
    bus.stop()
    assert not server.ready
    assert "Serving on ('pies', 80)" in log
    assert "HTTP Server ('pies', 80) shut down" in log
    adapter.stop()
    adapter.unsubscribe()
    bus.start()
    assert not server.ready
    bus.exit()
    with pytest.raises(ValueError, match="No HTTP server"):
        ServerAdapter(bus).start()


def test_a_failing_server_of_the_program_ends_the_bus() -> None:
    bus = Bus()
    adapter = ServerAdapter(bus, OwnServer(OSError("taken")))
    with pytest.raises(OSError, match="taken"):
        adapter.start()


def test_cheroot_is_found_by_bottle_s_name(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Any] = []

    class Server:
        def __init__(self, *arguments: Any, **options: Any) -> None:
            calls.append((arguments, options))

        def safe_start(self) -> None:
            self.__dict__.pop("ConnectionClass")  # tested with the real cheroot
            calls.append(vars(self))

    fakes = {
        "cheroot.server": types.SimpleNamespace(HTTPRequest=object, HTTPConnection=object),
        "cheroot.wsgi": types.SimpleNamespace(Server=Server),
        "cheroot.ssl.builtin": types.SimpleNamespace(BuiltinSSLAdapter=lambda *files: files),
    }
    monkeypatch.setattr("micropie_compat.bottle.server.import_module", fakes.__getitem__)
    our_bottle.CherootServer(port=1, numthreads=2).run(len)
    our_bottle.server_names["cheroot"]("h", 2, certfile="c", keyfile="k").run(len)
    assert calls == [
        ((("127.0.0.1", 1), len), {"numthreads": 2}),
        {},
        ((("h", 2), len), {}),
        {"ssl_adapter": ("c", "k", None)},
    ]
