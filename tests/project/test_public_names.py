"""The public names of ``micropie``, and the cost of importing it."""

from __future__ import annotations

import importlib
import inspect
import pickle
import re
import shutil
import sys
import traceback
import types
import typing
from pathlib import Path

import pytest

import micropie
from micropie._core.errors import refuse_namesake
from tests.support.commands import ended

ROOT = Path(micropie.__file__).parent.parent

# All public names. A new one is added here. Removing or renaming one breaks the applications that
# import it.
PROMISED = {
    "micropie": """
App Server dual route get post put patch delete websocket run_in where run_async check_cancelled pool_index progress Progress RetireProcess batched hidden command requires describe
reads_body max_body_size max_data_size max_json_values Header Cookie Query Form Body Session BindingError BindingErrors Message
Request Response EventStream Headers MutableHeaders UploadFile Page request template static_file event escape html flash
get_flashed_messages HTTPError BadRequest MethodNotAllowed Redirect ClientDisconnect SetupError ResponseError
WebSocket WebSocketRequest ConnectionClosed HttpMiddleware WebSocketMiddleware SessionBackend InMemorySessionBackend
SESSION_TIMEOUT MultipartFileError __version__
""",
    "micropie.sessions": """
Changes Session SessionBackend SessionStore InMemorySessionBackend SignedCookieSessionBackend SQLiteSessionBackend
RedisSessionBackend
""",
    "micropie.middleware": """
FlowMiddleware HttpMiddleware WebSocketMiddleware
call call_within kind_of Call Threads ServiceThreads TookTooLong
CORSMiddleware CSRFMiddleware ProxyHeaders SecurityDefaults SecurityHeaders TrustedHosts
AccessLog BasicAuth BearerAuth Compress ConcurrencyLimit LoadShedding RequestId RequestIdFilter Timeout
Tracing csrf_token ends_with_client
RateLimit RateStore MemoryRates RedisRates Quota
""",
    "micropie.config": """
Settings read read_env_file
""",
    "micropie.channels": """
Channels ChannelsUnreachable MessagesLost RedisChannels Subscription
""",
    # Each one more is one that can't change any more.
    "micropie.extensions": """
Application Inspector RouteEntry TypeInfo add_route Outside run_gunicorn
Outage RedisClient TaskWaiter is_on_loop current_shutdown notify_after_fork
is_on_this_machine
dumps loads Sentence
""",
}


@pytest.mark.parametrize("module", PROMISED)
def test_the_public_names_are_those_promised(module: str) -> None:
    found = importlib.import_module(module)
    assert set(found.__all__) == set(PROMISED[module].split()), (
        "add a new name to PROMISED; a name that is missing breaks the applications that import it"
    )
    assert found.__all__ == sorted(set(found.__all__), key=lambda name: (not name.isupper(), name))
    assert [name for name in found.__all__ if not hasattr(found, name)] == []
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        found.Nothing  # noqa: B018


@pytest.mark.parametrize(
    ("module", "name"), [("micropie", "Page"), ("micropie.sessions", "RedisSessionBackend")]
)
def test_a_shell_completes_names_that_are_not_imported_yet(
    module: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = importlib.import_module(module)
    monkeypatch.delitem(vars(package), name, raising=False)
    names = dir(package)
    assert name in names
    assert set(package.__all__) <= set(names)
    assert len(names) == len(set(names))


@pytest.mark.parametrize("name", sorted({*PROMISED} - {"micropie"}))
def test_every_public_name_of_a_package_is_documented(name: str) -> None:
    package = importlib.import_module(name)
    assert [
        public for public in package.__all__ if not inspect.getdoc(getattr(package, public))
    ] == []


@pytest.mark.parametrize("name", PROMISED["micropie.extensions"].split())
def test_a_name_for_extensions_is_documented_in_all_places(name: str) -> None:
    """In the table of docs/extensions.md, in the reference, and in an example there.

    ``tests/project/test_readme.py`` runs the examples.
    """
    pages = [page.read_text() for page in (ROOT / "docs" / "reference").glob("extensions*.md")]
    examples = [text for page in pages for text in re.findall(r"(?s)```python\n(.*?)```", page)]
    assert f"`{name}" in (ROOT / "docs" / "extensions.md").read_text()
    assert sum(f"::: micropie.extensions.{name}\n" in page for page in pages) == 1
    assert any(len(re.findall(rf"\b{name}\b", text)) > 1 for text in examples)


@pytest.mark.parametrize("name", PROMISED["micropie.middleware"].split())
def test_every_argument_of_a_middleware_is_explained(name: str) -> None:
    """In its docstring, which the reference shows."""
    middleware = getattr(importlib.import_module("micropie.middleware"), name)
    arguments = [
        p.name
        for p in inspect.signature(middleware).parameters.values()
        if p.kind is p.KEYWORD_ONLY
    ]
    text = inspect.getdoc(middleware) or ""
    assert [argument for argument in arguments if f"``{argument}``" not in text] == []


# Authors get objects of these, and make none.
MADE = {
    "Headers",
    "Request",
    "Session",
    "Subscription",
    "UploadFile",
    "WebSocket",
    "WebSocketRequest",
}
NO_CALLS = {"SESSION_TIMEOUT", "__version__", "request"}
MADE |= {"AsyncWebSocketSession", "WebSocketSession", "SessionStore"}


@pytest.mark.parametrize("module", [*PROMISED, "micropie.testing"])
def test_a_docstring_explains_every_argument(module: str) -> None:
    """The reference shows it below the signature."""
    missing = []
    for name in set(importlib.import_module(module).__all__) - MADE - NO_CALLS:
        value = getattr(importlib.import_module(module), name)
        try:
            arguments = inspect.signature(value).parameters.values()
        except ValueError:  # an exception's own
            continue
        fields = "" if not inspect.isclass(value) else " ".join(inspect.get_annotations(value))
        said = f"{inspect.getdoc(value)} {fields}"
        named = [
            one.name for one in arguments if one.kind not in (one.VAR_POSITIONAL, one.VAR_KEYWORD)
        ]
        named = [one for one in named if one != "function"]  # the one below a decorator
        missing += [f"{name}({one}=)" for one in named if not re.search(rf"\b{one}\b", said)]
    assert missing == [], "name each of these arguments in the docstring of its class or function"


def test_the_methods_for_extensions_explain_every_argument() -> None:
    package = importlib.import_module("micropie.extensions")
    classes = {
        name: value for name in package.__all__ if inspect.isclass(value := getattr(package, name))
    }
    missing = []
    for name, owner in classes.items():
        for method, function in inspect.getmembers(owner, inspect.isfunction):
            if method.startswith("_"):
                continue
            said = inspect.getdoc(function) or ""
            arguments = [one.name for one in inspect.signature(function).parameters.values()]
            missing += [
                f"{name}.{method}({one}=)"
                for one in arguments
                if one != "self" and not re.search(rf"\b{one}\b", f"{said} {inspect.getdoc(owner)}")
            ]
            missing += [f"{name}.{method}"] * (not said)
    assert len(classes) > 8, "the search has missed most classes: correct it"
    assert missing == []


# All that an editor offers to authors on these three, and below it the second spellings of
# ``micropie._core.spellings``.
ATTRIBUTES = {
    micropie.App: """
absolute_url_for asyncapi channels command delete error get health lifespan metrics middlewares mount openapi patch pool post provides
put render render_async render_stream request response root route run session_backend state static static_url url_for
websocket ws_middlewares wsgi_shutdown
""",
    micropie.Request: """
absolute_url_for accepts after_response app body broken_off carry_into_process check_precondition chunks client
content_length content_type
content_type_parameters cookies environ files form headers host id is_json json last_event_id length method not_modified
on_close on_failure parts path path_params query query_string raw_path read resource response root_path route scheme scope session
set_signed_cookie sign signed_cookie state static_url status stream unsign url url_for while_connected
""",
    micropie.WebSocket: """
accept accepted close close_code close_reason closed cookies forward headers messages path_params query receive receive_bytes receive_json
receive_text request save_session send send_bytes send_json send_text session session_id state subprotocols
""",
}
HABITS = {
    micropie.App: "env shutdown_handlers startup_handlers",
    micropie.Request: "body_params get_json query_params regenerate_session",
    micropie.WebSocket: "query_params",
}


@pytest.mark.parametrize("cls", ATTRIBUTES)
def test_app_request_and_response_have_the_expected_attributes(cls: type) -> None:
    owners = [base for base in cls.__mro__ if base is not object]
    names = {name for base in owners for name in (*vars(base), *inspect.get_annotations(base))}
    public = {name for name in names if not name.startswith("_")}
    assert public == {*ATTRIBUTES[cls].split(), *HABITS[cls].split()}


def test_all_lists_every_public_name() -> None:
    # some are imported when they are asked for
    assert all(hasattr(micropie, name) for name in micropie.__all__)
    public = {
        name
        for name, value in vars(micropie).items()
        if not name.startswith("_") and not isinstance(value, types.ModuleType)
    }
    assert public == set(micropie.__all__) - {"__version__"}


@pytest.mark.parametrize("name", sorted(set(micropie.__all__) - {"__version__", "request"}))
def test_every_public_name_is_documented(name: str) -> None:
    assert (inspect.getdoc(getattr(micropie, name)) or "").strip()


def test_the_version_is_the_package_s() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+((a|b|rc)\d+)?", micropie.__version__)
    pyproject = ROOT / "pyproject.toml"
    stated = (
        re.search(r'(?m)^version = "(.+)"', pyproject.read_text()) if pyproject.exists() else None
    )
    assert stated is None or stated[1] == micropie.__version__


def test_the_package_is_marked_as_typed() -> None:
    assert (ROOT / "micropie" / "py.typed").exists()


def test_request_is_the_current_request_after_its_module_is_imported() -> None:
    importlib.import_module("micropie._core.http.request")
    assert not isinstance(micropie.request, types.ModuleType)
    assert "current" in repr(micropie.request)


def test_star_import_brings_the_public_names() -> None:
    names: dict[str, object] = {}
    exec("from micropie import *", names)
    assert names.keys() - {"__builtins__"} == set(micropie.__all__)


ALONE = """
import sys
import traceback
import typing
class Refusing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {optional!r}:
            raise ModuleNotFoundError(name, name=name)
sys.meta_path.insert(0, Refusing())
import threading, warnings
warnings.simplefilter("error")
import micropie
class Root(micropie.App):
    def index(self, n: int = 0):
        return {{"n": n}}
app = Root()
seen = []
body = app({{"REQUEST_METHOD": "GET", "PATH_INFO": "/", "QUERY_STRING": "n=5", "SERVER_NAME": "x", "SERVER_PORT": "80",
             "wsgi.url_scheme": "http"}}, lambda status, headers: seen.append(status))
assert (seen, b"".join(body)) == (["200 OK"], b'{{"n":5}}'), (seen, body)
assert threading.active_count() == 1, threading.enumerate()
"""
OPTIONAL = {
    "jinja2",
    "orjson",
    "msgspec",
    "pydantic",
    "itsdangerous",
    "redis",
    "httpx",
    "httpx2",
    "a2wsgi",
    "trio",
}
OPTIONAL |= {"uvicorn", "hypercorn", "granian", "gunicorn", "h11", "websockets"}


@pytest.mark.processes
def test_importing_micropie_needs_anyio_alone_and_starts_nothing() -> None:
    code = ALONE.format(optional=OPTIONAL)
    done = ended(sys.executable, "-c", code)
    assert (done.returncode, done.stderr) == (0, "")


FIRST_ANSWER = """
import asyncio, sys
before = set(sys.modules)
from micropie import App
class Root(App):
    async def index(self):
        return "Hello"
    def plain(self, n: int = 0):
        return "Hello"
app, seen = Root(), []
async def receive():
    return {{"type": "http.request", "body": b"", "more_body": False}}
async def send(message):
    seen.append(message)
if {asgi}:
    scope = {{"type": "http", "method": "GET", "path": "/", "query_string": b"", "headers": [(b"host", b"localhost")]}}
    asyncio.run(app(scope, receive, send))
    assert [message.get("status", message.get("body")) for message in seen] == [200, b"Hello"], seen
else:
    environ = {{"REQUEST_METHOD": "GET", "PATH_INFO": "/plain", "SERVER_NAME": "x", "SERVER_PORT": "80", "wsgi.url_scheme": "http"}}
    assert list(app(environ, lambda status, headers: seen.append(status))) == [b"Hello"], seen
print(*sorted(set(sys.modules) - before))
"""

# Modules, and packages with all that is in them, that neither an import of ``App`` nor a first
# answer needs.
UNUSED = """
anyio._backends anyio._core anyio.abc anyio.from_thread anyio.lowlevel anyio.streams anyio.to_thread
decimal difflib email fractions hashlib hmac html http.client http.cookies importlib.metadata importlib.util mimetypes
multiprocessing pickle platform random secrets shutil sqlite3 struct sysconfig tempfile unicodedata uuid xml zlib
itsdangerous jinja2 msgspec orjson pydantic redis trio typing_extensions
micropie.asgi.lifespan micropie.asgi.websocket micropie.asgi.websocket_connection micropie.channels micropie.cli
micropie_compat micropie.config micropie.debug.access micropie.debug.failures micropie.debug.page
micropie.debug.missing_names micropie.debug.requests micropie.debug.source micropie._core.execution.steps.redis_client micropie._core.files.static
micropie._core.flow.websocket micropie._core.http.headers.conditional micropie._core.http.forms.multipart micropie._core.http.body.form_parts
micropie.extensions micropie._core.http.pagination micropie._core.http.headers.signing micropie.middleware micropie._core.mounts.asgi_call
micropie._core.mounts.lifespan micropie._core.mounts.wsgi_in_asgi micropie.openapi
micropie._core.flow.pooled micropie._core.execution.pool micropie._core.streams.events micropie._core.streams.threaded micropie.testing
micropie._core.templates.environment micropie.sessions.sqlite micropie.wsgi.lifespan
"""
OF_ONE_PROTOCOL = {
    True: {
        "micropie.wsgi.driver",
        "micropie.wsgi.exchange",
        "micropie.wsgi.gunicorn",
        "micropie.wsgi.steps",
    },
    False: {"micropie.asgi.driver", "micropie.asgi.exchange", "micropie.asgi.streaming", "ssl"},
}
# A lower number is as good; a higher one needs a reason. The packages inside ``_core`` are modules
# as well. ``execution/process_pool.py`` is small and the value of an attribute of each application.
# ``execution/call_steps.py`` is a part of it that the commands to Redis use, too. ASGI has one more,
# because a worker thread goes on with a request's flow.
MOST_OF_OURS = {True: 110, False: 109}


@pytest.mark.processes
@pytest.mark.parametrize("asgi", [True, False], ids=["asgi", "wsgi"])
def test_modules_unnecessary_for_a_first_response_are_not_imported(asgi: bool) -> None:
    code = FIRST_ANSWER.format(asgi=asgi)
    done = ended(sys.executable, "-c", code)
    assert (done.returncode, done.stderr) == (0, "")
    loaded = set(done.stdout.split())
    unused = {*UNUSED.split(), *OF_ONE_PROTOCOL[asgi]}
    assert [
        name for name in loaded if any(f"{name}.".startswith(f"{one}.") for one in unused)
    ] == []
    ours = {name for name in loaded if name.partition(".")[0] == "micropie"}
    assert len(ours) <= MOST_OF_OURS[asgi], (
        f"import the new module on first use (on_demand.module), or raise MOST_OF_OURS and say why: "
        f"{sorted(ours)}"
    )


STARTED = """
import asyncio, sys
from micropie import App
class Root(App):
    async def index(self):
        return "Hello"
app, seen = Root(), []
async def receive():
    return {"type": "http.request", "body": b"", "more_body": False}
async def send(message):
    seen.append(message)
async def main():
    messages = asyncio.Queue()
    messages.put_nowait({"type": "lifespan.startup"})
    lifespan = asyncio.create_task(app({"type": "lifespan"}, messages.get, send))
    while not seen:
        await asyncio.sleep(0)
    await app({"type": "http", "method": "GET", "path": "/", "query_string": b"", "headers": []}, receive, send)
    assert [message.get("status", message.get("body")) for message in seen] == [None, 200, b"Hello"], seen
    print(*sys.modules)
    messages.put_nowait({"type": "lifespan.shutdown"})
    await lifespan
asyncio.run(main())
"""


@pytest.mark.processes
def test_a_started_worker_has_not_imported_modules_for_waiting() -> None:
    done = ended(sys.executable, "-c", STARTED)
    assert (done.returncode, done.stderr) == (0, "")
    waiting = (
        "anyio._backends",
        "anyio._core._sync",
        "anyio.abc.",
        "anyio.lowlevel",
        "anyio.streams",
    )
    assert [name for name in done.stdout.split() if name.startswith(waiting)] == []


@pytest.mark.parametrize("name", ["micropie", "MicroPie"])
def test_the_other_package_named_micropie_is_detected(tmp_path: Path, name: str) -> None:
    (tmp_path / "micropie_dual-0.1.0.dist-info").mkdir()
    refuse_namesake(tmp_path)
    (tmp_path / f"{name}-0.13.dist-info").mkdir()
    with pytest.raises(ImportError, match="pip uninstall micropie micropie-dual"):
        refuse_namesake(tmp_path)


@pytest.mark.processes
def test_two_packages_in_one_folder_are_allowed_without_an_import(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "micropie", tmp_path / "micropie")
    (tmp_path / "micropie-0.13.dist-info").mkdir()
    done = ended(sys.executable, "-c", "import micropie", folder=tmp_path)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("ImportError: micropie-dual and another project")


LOOKED_UP = """
import inspect, sys
import micropie

def loaded():
    return [name for name in sys.modules if name.startswith("micropie.debug")]

inspect.getmembers(micropie)
hasattr(micropie, "__wrapped__")
try:
    import micropie.__nothing__
except ModuleNotFoundError:
    pass
assert not loaded(), loaded()
hasattr(micropie, "Depends")
assert "micropie.debug.missing_names" in loaded()
"""


@pytest.mark.processes
def test_only_a_missing_public_name_imports_names_of_other_frameworks() -> None:
    done = ended(sys.executable, "-c", LOOKED_UP)
    assert (done.returncode, done.stderr) == (0, "")


PUBLIC_CLASSES = [
    pytest.param(module, getattr(importlib.import_module(module), name), id=f"{module}.{name}")
    for module, names in PROMISED.items()
    for name in names.split()
    if inspect.isclass(getattr(importlib.import_module(module), name))
]


@pytest.mark.parametrize(("module", "kind"), PUBLIC_CLASSES)
def test_a_public_exception_shows_its_public_module(module: str, kind: type) -> None:
    if issubclass(kind, Exception):
        assert "_core" not in kind.__module__
    assert getattr(sys.modules[kind.__module__], kind.__name__) is kind


@pytest.mark.parametrize(("module", "kind"), PUBLIC_CLASSES)
def test_annotations_of_public_classes_and_their_subclasses_can_be_read(
    module: str, kind: type
) -> None:
    try:
        below = type(
            "Below", (kind,), {"__annotations__": {"number": "int"}, "__module__": __name__}
        )
    except TypeError:  # it can't be subclassed
        below = kind
    if kind.__name__ == "Settings":  # names a type that is imported for type checkers alone
        return
    assert typing.get_type_hints(below).keys() >= typing.get_type_hints(kind).keys()


@pytest.mark.parametrize(
    "error",
    [
        micropie.BadRequest("It is wrong."),
        micropie.BindingError([]),
        micropie.ClientDisconnect(),
        micropie.ConnectionClosed(1001, "away"),
        micropie.HTTPError(404, "There is none."),
        micropie.MethodNotAllowed(["GET"]),
        micropie.Redirect("/pies"),
        micropie.ResponseError("it is wrong"),
        micropie.SetupError("it is wrong"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_public_exception_can_be_pickled(error: Exception) -> None:
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is type(error)
    assert (str(copy), vars(copy)) == (str(error), vars(error))
    assert traceback.format_exception_only(error)[0].startswith(f"micropie.{type(error).__name__}")
