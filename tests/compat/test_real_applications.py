"""Applications that others wrote, unchanged but for the module that they import."""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.compat.asking import basic, upload
from tests.servers.harness import Server, serving

SERVERS = ["uvicorn", "gunicorn-gthread"]
IN_ANN = {"Authorization": basic("ann", "xyz")}


def wheel(name: str, version: str) -> bytes:
    """Return a wheel with one module."""
    information = f"{name}-{version}.dist-info"
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr(f"{name}.py", f"version = {version!r}\n")
        archive.writestr(f"{information}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        archive.writestr(f"{information}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{information}/RECORD", "")
    return packed.getvalue()


@pytest.fixture(scope="module", params=SERVERS)
def index(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A pypiserver with one package."""
    packages = tmp_path_factory.mktemp("packages")
    (packages / "first-1.0-py3-none-any.whl").write_bytes(wheel("first", "1.0"))
    environ = {"COMPAT_PACKAGES": str(packages)}
    with serving("tests.compat.real_pypiserver:app", environ=environ) as server_of:
        yield server_of(request.param)


def download(index: Server, requirement: str, to: Path) -> list[str]:
    """Have pip download a package from the index, and return the names of the files that it has written."""
    command = [sys.executable, "-m", "pip", "--isolated", "--disable-pip-version-check", "--no-cache-dir", "download"]
    options = ["--no-deps", "--index-url", f"http://127.0.0.1:{index.port}/simple/", "--dest", str(to), requirement]
    done = subprocess.run([*command, *options], capture_output=True, text=True, check=False, timeout=50)
    assert done.returncode == 0, done.stderr
    return [path.name for path in to.iterdir()]


def put(index: Server, name: str, version: str, headers: dict[str, str]) -> int:
    """Upload a package as twine does and return the status."""
    content = wheel(name, version)
    ask = upload(
        "/",
        (":action", None, "", b"file_upload"),
        ("protocol_version", None, "", b"1"),
        ("name", None, "", name.encode()),
        ("version", None, "", version.encode()),
        ("filetype", None, "", b"bdist_wheel"),
        ("sha256_digest", None, "", hashlib.sha256(content).hexdigest().encode()),
        ("content", f"{name}-{version}-py3-none-any.whl", "application/octet-stream", content),
    )
    assert not callable(ask.headers)
    return index.request(ask.method, ask.target, {**ask.headers, **headers}, ask.body).status


def test_pip_downloads_from_pypiserver(index: Server, tmp_path: Path) -> None:
    assert download(index, "first", tmp_path) == ["first-1.0-py3-none-any.whl"]


def test_a_package_is_uploaded_to_pypiserver_and_downloaded(index: Server, tmp_path: Path) -> None:
    assert put(index, "second", "2.0", {}) == 401
    assert put(index, "second", "2.0", {"Authorization": basic("ann", "wrong")}) == 403
    assert put(index, "second", "2.0", IN_ANN) == 200
    assert put(index, "second", "2.0", IN_ANN) == 409
    assert download(index, "second==2.0", tmp_path) == ["second-2.0-py3-none-any.whl"]


def test_the_pages_of_pypiserver(index: Server) -> None:
    welcome = index.request("GET", "/")
    assert welcome.status == 200
    assert b"pypiserver" in welcome.body
    simple = index.request("GET", "/simple/")
    assert (simple.status, b'<a href="first/">' in simple.body) == (200, True)
    assert index.request("GET", "/simple/First/").header("Location") == f"http://127.0.0.1:{index.port}/simple/first/"
    page = index.request("GET", "/simple/first/")
    assert b"/packages/first-1.0-py3-none-any.whl#sha256=" in page.body
    assert index.request("GET", "/simple/none/").status == 404
    assert index.request("GET", "/health").body == b"Ok"
    assert b'"1.0"' in index.request("GET", "/first/json").body
    package = index.request("GET", "/packages/first-1.0-py3-none-any.whl")
    assert (package.status, package.body) == (200, wheel_on_disk(package.body))
    part = index.request("GET", "/packages/first-1.0-py3-none-any.whl", {"Range": "bytes=0-1"})
    assert (part.status, part.body) == (206, b"PK")


def wheel_on_disk(body: bytes) -> bytes:
    """Return the body if it is a whole archive."""
    with zipfile.ZipFile(io.BytesIO(body)) as archive:
        assert archive.testzip() is None
    return body


def test_a_package_is_removed_from_pypiserver(index: Server) -> None:
    assert put(index, "third", "3.0", IN_ANN) == 200
    ask = upload("/", (":action", None, "", b"remove_pkg"), ("name", None, "", b"third"), ("version", None, "", b"3.0"))
    assert not callable(ask.headers)
    assert index.request("POST", "/", {**ask.headers, **IN_ANN}, ask.body).status == 200
    assert index.request("GET", "/packages/third-3.0-py3-none-any.whl").status == 404


@pytest.fixture(scope="module", params=SERVERS)
def glances(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The web interface of Glances; it writes its log in its user's home."""
    environ = {"HOME": str(tmp_path_factory.mktemp("home"))}
    with serving("tests.compat.real_glances:app", environ=environ) as server_of:
        yield server_of(request.param)


def test_the_pages_of_glances(glances: Server) -> None:
    for path in ("/", "/5"):
        page = glances.request("GET", path)
        assert (page.status, page.header("Content-Type")) == (200, "text/html; charset=UTF-8")
        assert page.header("Access-Control-Allow-Origin") == "*"
        assert b"Glances" in page.body
    script = glances.request("GET", "/glances.js")
    assert (script.status, script.header("Content-Length")) == (200, str(len(script.body)))
    assert glances.request("GET", "/glances.js", {"If-None-Match": script.header("ETag") or ""}).status == 304
    assert glances.request("GET", "/none.txt").status == 404
    assert glances.request("GET", "/../__init__.py").status in (400, 403, 404)


def test_the_figures_of_glances(glances: Server) -> None:
    assert glances.request("GET", "/api/3/status").body == b"Active"
    plugins = glances.request("GET", "/api/3/pluginslist")
    assert plugins.header("Content-Type") == "application/json; charset=utf-8"
    assert "mem" in json.loads(plugins.body)
    packed = glances.request("GET", "/api/3/mem", {"Accept-Encoding": "deflate"})
    assert packed.header("Content-Encoding") == "deflate"
    assert json.loads(zlib.decompress(packed.body))["total"] > 0
    assert list(json.loads(glances.request("GET", "/api/3/mem/total").body)) == ["total"]
    assert glances.request("GET", "/api/3/none").status == 400
    assert glances.request("GET", "/api/3/mem/none").status == 404
    assert glances.request("POST", "/api/3/mem").status == 405
