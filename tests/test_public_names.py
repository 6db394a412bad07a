"""The public names of ``micropie``, and the cost of importing it."""

from __future__ import annotations

import importlib
import inspect
import re
import shutil
import subprocess
import sys
import types
from pathlib import Path

import pytest

import micropie
from micropie.errors import refuse_namesake

ROOT = Path(micropie.__file__).parent.parent

# The names in the documentation. A name that is added here stays for good.
PROMISED = """
App Server route get post put patch delete run_in inline threaded pooled where hidden requires reads_body max_body_size max_data_size
Request Response EventStream Headers MutableHeaders UploadFile request template static_file event escape
HTTPError BadRequest MethodNotAllowed Redirect ClientDisconnect SetupError ResponseError
WebSocket WebSocketRequest ConnectionClosed websocket
HttpMiddleware WebSocketMiddleware SessionBackend InMemorySessionBackend __version__
"""


@pytest.mark.parametrize("name", PROMISED.split())
def test_every_promised_name_is_there(name: str) -> None:
    assert name in micropie.__all__
    assert hasattr(micropie, name)


SESSIONS = """
Changes Session SessionBackend SessionStore InMemorySessionBackend SignedCookieSessionBackend SQLiteSessionBackend
RedisSessionBackend
"""


def test_the_session_backends_are_in_a_package_of_their_own() -> None:
    sessions = importlib.import_module("micropie.sessions")
    assert sorted(sessions.__all__) == sorted(SESSIONS.split())
    assert all((inspect.getdoc(getattr(sessions, name)) or "").strip() for name in sessions.__all__)


MIDDLEWARE = """
CORSMiddleware CSRFMiddleware ProxyHeaders SecurityDefaults SecurityHeaders TrustedHosts
AccessLog BasicAuth BearerAuth Compress MemoryRates RateLimit RedisRates RequestId RequestIdFilter Timeout
"""


def test_what_middleware_comes_with_it() -> None:
    middleware = importlib.import_module("micropie.middleware")
    assert middleware.__all__ == sorted(set(middleware.__all__))
    assert all((inspect.getdoc(getattr(middleware, name)) or "").strip() for name in middleware.__all__)
    assert set(MIDDLEWARE.split()) <= {*middleware.__all__}


def test_the_list_of_names_is_sorted_and_complete() -> None:
    assert micropie.__all__ == sorted(set(micropie.__all__))
    public = {
        name
        for name, value in vars(micropie).items()
        if not name.startswith("_") and not isinstance(value, types.ModuleType)
    }
    assert public == set(micropie.__all__) - {"__version__"}


@pytest.mark.parametrize("name", sorted(set(micropie.__all__) - {"__version__", "request"}))
def test_every_public_name_is_documented(name: str) -> None:
    assert (inspect.getdoc(getattr(micropie, name)) or "").strip()


def test_the_version_is_one_and_is_the_package_s() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+((a|b|rc)\d+)?", micropie.__version__)
    pyproject = ROOT / "pyproject.toml"
    stated = re.search(r'(?m)^version = "(.+)"', pyproject.read_text()) if pyproject.exists() else None
    assert stated is None or stated[1] == micropie.__version__


def test_the_package_is_typed() -> None:
    assert (ROOT / "micropie" / "py.typed").exists()


def test_request_is_the_current_request_even_after_its_module_was_imported() -> None:
    importlib.import_module("micropie.http.request")
    assert not isinstance(micropie.request, types.ModuleType)
    assert "current" in repr(micropie.request)


def test_star_import_brings_the_public_names() -> None:
    names: dict[str, object] = {}
    exec("from micropie import *", names)
    assert names.keys() - {"__builtins__"} == set(micropie.__all__)


ALONE = """
import sys
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
OPTIONAL = {"jinja2", "multipart", "orjson", "msgspec", "pydantic", "itsdangerous", "redis", "httpx", "a2wsgi", "trio"}
OPTIONAL |= {"uvicorn", "hypercorn", "granian", "gunicorn", "h11", "websockets"}


def test_anyio_is_all_that_it_needs_and_nothing_is_started() -> None:
    code = ALONE.format(optional=OPTIONAL)
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("name", ["micropie", "MicroPie"])
def test_the_other_project_of_this_name_is_noticed(tmp_path: Path, name: str) -> None:
    (tmp_path / "micropie_dual-0.1.0.dist-info").mkdir()
    refuse_namesake(tmp_path)
    (tmp_path / f"{name}-0.13.dist-info").mkdir()
    with pytest.raises(ImportError, match="pip uninstall micropie micropie-dual"):
        refuse_namesake(tmp_path)


def test_two_projects_in_one_place_are_no_import(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "micropie", tmp_path / "micropie")
    (tmp_path / "micropie-0.13.dist-info").mkdir()
    ended = subprocess.run(
        [sys.executable, "-c", "import micropie"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 1
    assert ended.stderr.splitlines()[-1].startswith("ImportError: micropie-dual and another project")
