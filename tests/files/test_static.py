"""Files as answers: what is found and what never is, what is said of it, and that nothing stays
open.
"""

from __future__ import annotations

import errno
import gzip
import hashlib
import locale
import mimetypes
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from email.utils import formatdate
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx2 as httpx
import pytest

from micropie import (
    App,
    HTTPError,
    HttpMiddleware,
    Response,
    SessionBackend,
    SetupError,
    static_file,
)
from micropie._core.files import content_types as filetypes
from micropie._core.files import fingerprints, lookup, recent, static
from micropie._core.files.content_types import attachment, content_type_of
from micropie._core.files.lookup import Facts, Key, ResolvedFile, find, open_resolved
from micropie._core.files.recent import CAPACITY, CONTENTS, OVERHEAD, RECENT, Recent, RecentLooks
from micropie._core.http.json import CodecError
from micropie._core.http.response import encode_body
from micropie.testing import TestClient
from tests.asgi import calls as asgi
from tests.support.clients import MakeClient
from tests.support.open_files import no_descriptors, open_files
from tests.support.waiting import until
from tests.wsgi import calls as wsgi

SECRET = "the secret"
SMALL = b"a small file\n"
LARGE = bytes(range(256)) * 4096  # 1 MiB: more than is read at once
MODIFIED = 1_700_000_000
BY_CLOCK = MODIFIED * 10**9 + 1  # a time that no archive has

SITE = {
    "a.txt": SMALL,
    "large.bin": LARGE,
    "empty.txt": b"",
    "dir/page.html": b"<p>page",
    "dir/unknown.xyz": b"<script>",
    "é ü.txt": b"umlauts",
    "app.js": b"plain script",
    "app.js.gz": gzip.compress(b"plain script", mtime=0),
    "app.js.br": b"brotli",
    "only.css": b"plain style",
    "only.css.gz": gzip.compress(b"plain style", mtime=0),
    ".env": SECRET.encode(),
    ".git/config": SECRET.encode(),
    "dir/.hidden/x.txt": SECRET.encode(),
}


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A directory of files, beside one with almost the same name and a file that nobody may get."""
    for name, content in SITE.items():
        place = tmp_path / "site" / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)
        os.utime(place, ns=(BY_CLOCK, BY_CLOCK))
    (tmp_path / "site-secret").mkdir()
    (tmp_path / "site-secret" / "secret.txt").write_text(SECRET)
    (tmp_path / "secret.txt").write_text(SECRET)
    return tmp_path / "site"


@pytest.fixture(params=[False, True])
def cached(request: pytest.FixtureRequest) -> bool:
    """Whether the files of a directory are kept in memory."""
    chosen: bool = request.param
    return chosen


@pytest.fixture(autouse=True)
def no_cache_of_another_test(monkeypatch: pytest.MonkeyPatch) -> None:
    """The files of a test were written long ago, as far as it matters here."""
    CONTENTS.clear()
    fingerprints.IDENTIFIED.clear()
    monkeypatch.setattr(lookup, "_STEP", -(1 << 62))


class Files(App):
    """The file ``name`` by ``def``, ``async def`` and a route; ``options`` are those of
    ``static_file``.
    """

    def __init__(self, root: Path, **options: Any) -> None:
        super().__init__()
        self._root = root
        self.options = options
        App.static(self, "/static", root, **options)

    def file(self, name: str) -> Any:
        return static_file(name, self._root, **self.options)

    async def awaited(self, name: str) -> Any:
        return static_file(name, self._root, **self.options)


class Outer(App):
    def __init__(self, inner: App) -> None:
        super().__init__()
        self.inner = inner


def raw(client: TestClient, target: str, method: str = "GET", **headers: str) -> httpx.Response:
    """The answer to exactly this target: httpx would normalise it."""
    return client.request(method, "/", headers=headers, extensions={"target": target.encode()})


def tag_of(content: bytes, coding: str = "") -> str:
    return f'"{hashlib.sha256(content).hexdigest()[:16]}{coding and "-" + coding}"'


@pytest.fixture
def nothing_stays_open(site: Path) -> Iterator[None]:
    yield
    # the client has the answer a moment before the application has closed it
    until(lambda: not open_files(site))


# -- what there is ---------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"cached": True}, {"follow_symlinks": True}], ids=str)
@pytest.mark.parametrize("way", ["/file?name=", "/awaited?name=", "/static/"])
def test_files_are_served(
    make_client: MakeClient, site: Path, way: str, options: dict[str, Any], nothing_stays_open: None
) -> None:
    client = make_client(Files(site, **options))
    client.headers["Accept-Encoding"] = "identity"
    others = ("empty.txt", "dir/page.html", "é ü.txt", "app.js", "app.js.gz")
    for name in ("a.txt", "large.bin", *others):
        url = way + quote(name)
        for _ in range(2):
            answer = client.get(url)
            assert (answer.status_code, answer.content) == (200, SITE[name]), name
            assert answer.headers["content-length"] == str(len(SITE[name]))
        head = client.head(url)
        assert (head.status_code, head.content) == (200, b"")
        assert head.headers == answer.headers


def test_a_file_has_complete_headers(make_client: MakeClient, site: Path) -> None:
    answer = make_client(Files(site)).get("/static/a.txt")
    assert dict(answer.headers) == {
        "content-type": "text/plain; charset=utf-8",
        "content-length": "13",
        "etag": tag_of(SMALL),
        "last-modified": "Tue, 14 Nov 2023 22:13:20 GMT",
        "cache-control": "no-cache",
        "accept-ranges": "bytes",
        "x-content-type-options": "nosniff",
    }


@pytest.mark.parametrize("root_path", ["", "/p", "/p/é"])
def test_file_routes_have_urls(make_client: MakeClient, site: Path, root_path: str) -> None:
    inner = Files(site)
    outer = Outer(inner)

    def where() -> str:
        own = inner.url_for("static", path="dir/page.html")
        return f"{own} {outer.url_for('inner.static', path='é ü.txt')}"

    outer.get("/where")(where)
    client = make_client(outer, root_path=root_path)
    one, two = client.get("/where").text.split()
    assert two == quote(root_path) + "/inner/static/%C3%A9%20%C3%BC.txt"
    assert raw(client, two).content == b"umlauts"
    assert one.endswith("/static/dir/page.html")


def test_a_subclass_may_have_a_handler_named_static(make_client: MakeClient, site: Path) -> None:
    class Root(App):
        def static(self) -> str:  # type: ignore[override]
            return "mine"

    app = Root()
    App.static(app, "/files", site)
    client = make_client(app)
    assert (client.get("/static").text, client.get("/files/a.txt").content) == ("mine", SMALL)


def test_only_get_and_head_are_allowed_for_files(make_client: MakeClient, site: Path) -> None:
    client = make_client(Files(site))
    assert client.post("/static/a.txt").status_code == 405
    assert client.options("/static/a.txt").headers["allow"] == "GET, HEAD, OPTIONS"


@pytest.mark.parametrize("prefix", ["/s", "/s/", "/s/t", "/.well-known"])
def test_a_file_prefix_may_be_any_path(make_client: MakeClient, site: Path, prefix: str) -> None:
    app = App()
    app.static(prefix, site)
    assert app.url_for("static", path="a.txt") == f"{prefix.rstrip('/')}/a.txt"
    assert make_client(app).get(f"{prefix.rstrip('/')}/a.txt").content == SMALL


@pytest.mark.parametrize(
    "prefix", ["", "static", "/", "//", "/a//b", "/../a", "/a/.", "/<name>", None, 5]
)
def test_an_invalid_prefix_fails_at_setup(site: Path, prefix: Any) -> None:
    with pytest.raises(SetupError, match='a path such as "/static"'):
        App().static(prefix, site)


def test_a_directory_that_is_missing_fails_at_setup(site: Path) -> None:
    for wrong in (site / "nowhere", site / "a.txt", str(site / "nowhere")):
        with pytest.raises(
            SetupError, match=f"there is no directory .*; the working directory is {Path.cwd()}"
        ):
            App().static("/static", wrong)


def test_two_file_directories_need_two_names(make_client: MakeClient, site: Path) -> None:
    app = App()
    app.static("/one", site)
    app.static("/two/", site / "dir", name="pages")
    client = make_client(app)
    assert client.get(app.url_for("pages", path="page.html")).text == "<p>page"
    assert client.get(app.url_for("static", path="a.txt")).content == SMALL
    app.static("/three", site)
    with pytest.raises(SetupError, match="two routes have the name 'static'"):
        app._micropie.compiled()


@pytest.mark.parametrize("max_age", [-1, 1.5, True, "3600"])
def test_an_invalid_max_age_raises_an_error(site: Path, max_age: Any) -> None:
    with pytest.raises(ValueError, match="whole number of seconds"):
        static_file("a.txt", site, max_age=max_age)
    with pytest.raises(SetupError, match="whole number of seconds"):
        App().static("/static", site, max_age=max_age)


def test_a_missing_directory_is_logged(
    make_client: MakeClient, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    app = App()
    app.get("/")(lambda: static_file("a.txt", tmp_path / "nowhere"))
    assert make_client(app).get("/").status_code == 404
    assert [record.getMessage() for record in caplog.records] == [
        f"can't serve files from {str(tmp_path / 'nowhere')!r}: it is not a directory"
    ]


def test_a_relative_directory_starts_at_the_working_directory(
    make_client: MakeClient, site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(site.parent)
    app = App()
    app.static("/static", "site")
    monkeypatch.chdir("/")
    assert make_client(app).get("/static/a.txt").content == SMALL


def test_a_file_is_sent_while_sessions_are_unavailable(make_client: MakeClient, site: Path) -> None:
    class Down(SessionBackend):
        def load(self, session_id: str) -> Any:
            raise ConnectionError

    app = App(Down())
    app.static("/static", site)
    client = make_client(app, headers={"Cookie": f"session_id={'x' * 43}"})
    assert client.get("/static/a.txt").content == SMALL


# -- what there is not -----------------------------------------------------------------------------

PAYLOADS = """
.. ../ ../secret.txt ../../secret.txt ../site-secret/secret.txt ../site/a.txt ../site/../secret.txt
dir/.. dir/../ dir/../a.txt dir/../../secret.txt dir/../../../secret.txt dir/../../site-secret/secret.txt
./a.txt dir/./page.html . ./ ./../secret.txt ././../secret.txt .../secret.txt ....//secret.txt ..../secret.txt
/etc/passwd //etc/passwd ///etc/passwd /./etc/passwd //../secret.txt a.txt/ a.txt// dir// dir//page.html //a.txt
a.txt/../../secret.txt a.txt/.. a.txt/secret nowhere/../../secret.txt
..\\secret.txt ..\\..\\secret.txt dir\\..\\..\\secret.txt \\secret.txt \\\\host\\share\\secret.txt dir\\page.html
..\\/secret.txt ../\\secret.txt .\\..\\secret.txt //host/share/secret.txt /\\host
C:secret.txt C:\\secret.txt C:/secret.txt c:..\\secret.txt file:///etc/passwd \\\\?\\C:\\secret.txt \\\\.\\C:
~ ~root ~/.ssh/id_rsa $HOME/secret.txt %HOME%/secret.txt
..;/secret.txt ..;x/secret.txt ..%00/secret.txt a.txt\x00 \x00 ../secret.txt\x00.html a.txt\x00.png
..\u2215secret.txt ..\uff0fsecret.txt \uff0e\uff0e/secret.txt ..\u2216secret.txt ..\xc0\xafsecret.txt
.env .git/config .git .git/ dir/.hidden/x.txt dir/.hidden .hidden .. /.env .htaccess
dir dir/ . "" site-secret/secret.txt -secret/secret.txt secret.txt ../site-secret ../site-secret/
"""
TRAVERSALS = PAYLOADS.split()


def encoded(text: str, times: int) -> str:
    """Every character that is no letter or digit as %XX, so many times over."""
    for _ in range(times):
        text = "".join(
            character
            if character.isascii() and character.isalnum()
            else quote(character, safe="").replace(".", "%2E")
            for character in text
        )
    return text


def test_the_list_of_path_attacks_is_long_enough() -> None:
    assert len(set(TRAVERSALS)) >= 60


@pytest.mark.parametrize(
    ("mount", "inside", "options"),
    [
        ("", False, {}),
        ("/p", False, {}),
        ("", True, {}),
        ("/p", True, {"cached": True}),
        ("", False, {"follow_symlinks": True}),
    ],
    ids=[
        "outermost",
        "mounted",
        "inside another",
        "inside another, mounted, cached",
        "following links",
    ],
)
def test_R35_R41_only_visible_files_inside_the_directory_are_served(
    make_client: MakeClient, site: Path, mount: str, inside: bool, options: dict[str, Any]
) -> None:
    app: App = Files(site, **options)
    base = mount
    if inside:
        app, base = Outer(app), f"{mount}/inner"
    client = make_client(app, root_path=mount, validate=False)
    assert raw(client, f"{base}/static/a.txt").content == SMALL
    for name in ("", "dir", "dir/", ".env", ".git/config", ".git", "dir/.hidden/x.txt"):
        assert raw(client, f"{base}/static/{name}").status_code == 404, name
    for payload in TRAVERSALS:
        quoted = quote(payload, safe="/\\:;~$.%")  # as a client that sends what it was told
        texts = (quoted, encoded(payload, 1), encoded(payload, 2))
        targets = [f"{base}/static/{text}" for text in texts]
        targets += [f"{base}/static{quoted}", f"{base}/file?name={quote(payload, safe='')}"]
        for target in targets:
            answer = raw(client, target)
            assert answer.status_code in (400, 404), (payload, target)
            assert SECRET not in answer.text, (payload, target)


def test_R35_an_escaped_slash_cannot_leave_the_directory(
    make_client: MakeClient, site: Path
) -> None:
    client = make_client(Files(site))
    assert raw(client, "/static/dir/page.html").status_code == 200
    for escaped in ("dir%2Fpage.html", "dir%2fpage.html", "%2Fdir/page.html"):
        assert raw(client, f"/static/{escaped}").status_code == 404


# "by name": a system that can't open a file below an open directory
@pytest.mark.parametrize("way", ["below", "by name"])
def test_R36_links_that_leave_the_directory_are_not_followed(
    make_client: MakeClient,
    site: Path,
    cached: bool,
    way: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if way == "by name":
        monkeypatch.setattr("micropie._core.files.lookup._OPENS_BELOW", False)
    outside = site.parent
    links = {
        "to-file.txt": outside / "secret.txt",
        "to-dir": outside,
        "to-sibling": outside / "site-secret",
        "to-root": Path("/"),
        "relative.txt": Path("../secret.txt"),
        "chain.txt": Path("chain-2.txt"),
        "chain-2.txt": Path("to-dir/secret.txt"),
        "dir/up": Path("../.."),
    }
    for name, target in links.items():
        (site / name).symlink_to(target)
    inside = {
        "inner.txt": Path("a.txt"),
        "inner-dir": Path("dir"),
        "dir/up-a-bit": site,
        "inner-2.txt": Path("inner.txt"),
    }
    for name, target in inside.items():
        (site / name).symlink_to(target)
    led_out = [
        *("to-file.txt", "to-dir/secret.txt", "to-sibling/secret.txt", "relative.txt"),
        *("chain.txt", "chain-2.txt", f"to-root{outside}/secret.txt"),
        *("dir/up/secret.txt", "dir/up/site-secret/secret.txt"),
    ]
    client = make_client(Files(site, cached=cached))
    for name in led_out:
        assert client.get(f"/static/{name}").status_code == 404, name
    for name in ("inner.txt", "inner-2.txt", "dir/up-a-bit/a.txt"):
        assert client.get(f"/static/{name}").content == SMALL, name
    assert client.get("/static/inner-dir/page.html").text == "<p>page"
    follows = make_client(Files(site, cached=cached, follow_symlinks=True))
    for name in led_out:
        assert follows.get(f"/static/{name}").text == SECRET, name


def test_R36_the_directory_itself_may_be_a_link(make_client: MakeClient, site: Path) -> None:
    link = site.parent / "current"
    link.symlink_to(site)
    (site / "out.txt").symlink_to("../secret.txt")
    (site / "in.txt").symlink_to("a.txt")
    client = make_client(Files(link))
    statuses = [client.get(f"/static/{name}.txt").status_code for name in ("a", "in", "out")]
    assert statuses == [200, 200, 404]


def test_R36_dangling_links_are_not_found(make_client: MakeClient, site: Path) -> None:
    (site / "loop.txt").symlink_to("loop.txt")
    (site / "dangling.txt").symlink_to("nowhere.txt")
    for follow in (False, True):
        client = make_client(Files(site, follow_symlinks=follow))
        for name in ("loop.txt", "dangling.txt"):
            assert client.get(f"/static/{name}").status_code == 404


@pytest.mark.parametrize(
    ("name", "swapped"),
    [
        ("dir/page.html", "dir"),
        ("dir/page.html", "dir/page.html"),
        ("dir/inner/page.html", "dir"),
        ("dir/inner/page.html", "dir/inner"),
        ("a.txt", "a.txt"),
    ],
)
def test_R36_a_directory_replaced_by_a_link_after_the_look_up_is_not_followed(
    make_client: MakeClient, site: Path, monkeypatch: pytest.MonkeyPatch, name: str, swapped: str
) -> None:
    (site / "dir/inner").mkdir()
    (site / "dir/inner/page.html").write_text("<p>inner")

    def find_and_swap(*arguments: Any) -> ResolvedFile:
        found = find(*arguments)
        # the very same file, so ``stat`` alone can't tell
        (site / swapped).rename(site.parent / "moved")
        (site / swapped).symlink_to(site.parent / "moved")
        return found

    content = (site / name).read_bytes()
    client = make_client(Files(site))
    assert client.get(f"/static/{name}").content == content
    monkeypatch.setattr(static, "find", find_and_swap)
    assert client.get(f"/static/{name}").status_code == 404


def test_R36_a_compressed_file_that_is_an_external_link_is_ignored(
    make_client: MakeClient, site: Path
) -> None:
    (site / "a.txt.gz").symlink_to("../secret.txt")
    os.utime(site.parent / "secret.txt", (MODIFIED, MODIFIED))
    answer = make_client(Files(site)).get("/static/a.txt", headers={"Accept-Encoding": "gzip"})
    assert answer.content == SMALL
    assert "vary" not in answer.headers


def test_R35_the_whole_file_system_may_be_served(site: Path) -> None:
    (site / "in.txt").symlink_to("a.txt")
    assert find("/", f"{site}/in.txt".lstrip("/"), (), False).size == len(SMALL)


@pytest.mark.parametrize(
    "name",
    [
        "x" * 5000,
        "x/" * 3000 + "x",
        "a.txt/x",
        "a.txt/",
        "/a.txt",
        "/dir/page.html",
        "CON",
        "aux.txt",
        "nul",
        "COM1",
        "\udcff.txt",
        "\ud800",
        "a\x00.txt",
        "\x00",
        "\x7f",
        "\n",
        "a.txt ",
        "a.txt.",
        "A.TXT",
        "a.txt::$DATA",
        "*",
        "?",
        "",
    ],
    ids=ascii,
)
def test_R38_unusual_file_names_are_not_found(
    make_client: MakeClient, site: Path, name: str, cached: bool
) -> None:
    app = App()
    app.get("/")(lambda: static_file(name, site, cached=cached))
    assert make_client(app).get("/").status_code == 404


@pytest.mark.processes
def test_R38_fifos_devices_and_sockets_do_not_block_a_request(
    make_client: MakeClient, site: Path, cached: bool
) -> None:
    os.mkfifo(site / "fifo")
    (site / "zero").symlink_to("/dev/zero")
    (site / "tty").symlink_to("/dev/tty")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(site / "socket"))
        client = make_client(Files(site, cached=cached, follow_symlinks=True))
        for name in ("fifo", "zero", "tty", "socket", "dir"):
            assert client.get(f"/static/{name}").status_code == 404, name
            assert client.head(f"/static/{name}").status_code == 404, name


def test_R38_a_file_that_becomes_a_fifo_does_not_block_a_request(
    make_client: MakeClient, site: Path, monkeypatch: pytest.MonkeyPatch, nothing_stays_open: None
) -> None:
    def find_and_swap(*arguments: Any) -> ResolvedFile:
        found = find(*arguments)
        (site / "a.txt").unlink()
        os.mkfifo(site / "a.txt")
        return found

    monkeypatch.setattr(static, "find", find_and_swap)
    assert make_client(Files(site)).get("/static/a.txt").status_code == 404


def test_R35_a_backslash_is_not_part_of_a_file_name(site: Path) -> None:
    (site / "dir\\page.html").touch()
    (site / "C:x").touch()
    for name in ("dir\\page.html", "C:x"):
        with pytest.raises(HTTPError):
            find(str(site), name, (), False)


def test_names_that_are_special_on_windows_are_not_found(
    site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ["CON", "aux.txt", "dir/nul", "com1.log", "a.txt::$DATA", "a.txt.", "a.txt "]
    names += ["dir./page.html"]
    for name in names:
        (site / name).parent.mkdir(exist_ok=True)
        (site / name).touch()
        find(str(site), name, (), False)
    monkeypatch.setattr(os, "name", "nt")
    table: Any = getattr(lookup._may_be_file, "__self__", None)
    monkeypatch.setattr(lookup, "_may_be_file", table._make)  # no cache
    for name in names:
        with pytest.raises(HTTPError):
            find(str(site), name, (), False)
    assert find(str(site), "dir/page.html", (), False).size == 7


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_file_without_read_permission_is_not_found(
    make_client: MakeClient, site: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)  # tests may run as root, who may read all
    assert make_client(Files(site)).request(method, "/static/a.txt").status_code == 404


@pytest.mark.parametrize(
    ("code", "status"), [(errno.EACCES, 404), (errno.ENOENT, 404), (errno.EIO, 500)]
)
@pytest.mark.parametrize("function", ["lstat", "open"])
def test_a_disk_error_is_not_a_404(
    make_client: MakeClient,
    site: Path,
    monkeypatch: pytest.MonkeyPatch,
    code: int,
    status: int,
    function: str,
) -> None:
    real = getattr(os, function)

    def fails(path: Any, *arguments: Any, **options: Any) -> Any:
        if str(path) == str(site / "a.txt"):
            raise OSError(code, "no")
        return real(path, *arguments, **options)

    client = make_client(Files(site))
    monkeypatch.setattr(os, function, fails)
    assert client.get("/static/a.txt").status_code == status


def test_R40_running_out_of_descriptors_gets_a_503(
    make_client: MakeClient, site: Path, caplog: pytest.LogCaptureFixture
) -> None:
    app = Files(site)

    @app.error(404)
    def missing() -> Response:
        return static_file("a.txt", root=site)

    client = make_client(app)
    client.get("/static/dir/page.html")
    with no_descriptors():
        answers = [client.get(path) for path in ("/static/large.bin", "/nowhere")]
    for answer in answers:
        assert (answer.status_code, answer.text) == (503, "Please try again later.")
        assert answer.headers["retry-after"] == "5"
    assert caplog.messages == [
        f"GET {path!r} failed: [Errno 24] Too many open files: '{site / name}'"
        for path, name in (("/static/large.bin", "large.bin"), ("/nowhere", "a.txt"))
    ]
    assert client.get("/static/large.bin").status_code == 200


# -- ranges and conditions -------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a.txt", "large.bin"])
def test_R37_ranges_of_files_are_sent(
    make_client: MakeClient, site: Path, name: str, cached: bool, nothing_stays_open: None
) -> None:
    client, content = make_client(Files(site, cached=cached)), SITE[name]
    size = len(content)
    parts = {"0-0": (0, 1), "2-5": (2, 6), "7-": (7, size), "-3": (size - 3, size), "0-": (0, size)}
    for text, (start, stop) in parts.items():
        answer = client.get(f"/static/{name}", headers={"Range": f"bytes={text}"})
        assert (answer.status_code, answer.content) == (206, content[start:stop])
        assert answer.headers["content-range"] == f"bytes {start}-{stop - 1}/{size}"
        assert answer.headers["content-length"] == str(stop - start)
        assert {"etag", "last-modified", "cache-control"} <= answer.headers.keys()
    long = ("bytes=" + "0-1," * 50, f"bytes={'9' * 65536}")
    for text in ("bytes=5-2", "bytes=0-0,2-2", "bytes=", "items=0-1", *long):
        answer = client.get(f"/static/{name}", headers={"Range": text})
        assert (answer.status_code, answer.content) == (200, content)
        assert "content-range" not in answer.headers
    answer = client.get(f"/static/{name}", headers={"Range": f"bytes={size}-"})
    assert (answer.status_code, answer.headers["content-range"]) == (416, f"bytes */{size}")
    head = client.head(f"/static/{name}", headers={"Range": "bytes=0-0"})
    assert head.headers["content-length"] == str(size)


def test_R39_a_file_that_the_client_has_cached_is_not_sent(
    make_client: MakeClient,
    site: Path,
    cached: bool,
    monkeypatch: pytest.MonkeyPatch,
    nothing_stays_open: None,
) -> None:
    options = {"max_age": 60, "headers": {"X-Own": "1", "Content-Language": "en"}, "download": True}
    client = make_client(Files(site, cached=cached, **options))
    whole = client.get("/static/app.js", headers={"Accept-Encoding": "gzip"})
    opened = []
    monkeypatch.setattr(static, "open_resolved", lambda *arguments: opened.append(arguments))
    for method in ("GET", "HEAD"):
        for name, value in (
            ("If-None-Match", whole.headers["etag"]),
            ("If-Modified-Since", whole.headers["last-modified"]),
        ):
            answer = client.request(
                method, "/static/app.js", headers={"Accept-Encoding": "gzip", name: value}
            )
            assert (answer.status_code, answer.content) == (304, b"")
            kept = {"etag", "last-modified", "cache-control", "vary"}
            found = {key: answer.headers[key] for key in kept}
            assert found == {key: whole.headers[key] for key in kept}
            assert answer.headers["x-own"] == "1"
            assert not [key for key in answer.headers if key.startswith("content-")]
    assert opened == []


def test_R39_a_304_keeps_the_headers_that_do_not_describe_a_body(
    make_client: MakeClient, site: Path, cached: bool
) -> None:
    kept = {
        "Content-Location": "/a",
        "content-security-policy": "default-src 'none'",
        "Content-Security-Policy-Report-Only": "default-src 'none'",
    }
    client = make_client(Files(site, cached=cached, headers=kept | {"Content-Location-X": "1"}))
    answer = client.get("/static/a.txt", headers={"If-None-Match": tag_of(SMALL)})
    assert answer.status_code == 304
    names = {name for name in answer.headers if name.startswith("content-")}
    assert names == {name.lower() for name in kept}


def test_R39_a_failed_precondition_gets_a_412(
    make_client: MakeClient, site: Path, cached: bool
) -> None:
    app = Files(site, cached=cached)

    @app.error(412)
    def failed(error: HTTPError) -> str:
        return f"handled: {error.message}"

    answer = make_client(app).get("/static/a.txt", headers={"If-Match": '"x"'})
    assert answer.status_code == 412
    assert (
        answer.text
        == "handled: The resource has changed since you loaded it. Reload it and try again."
    )


def test_R39_conditions_only_apply_to_get(make_client: MakeClient, site: Path) -> None:
    class Root(App):
        def make(self) -> Response:
            return static_file("a.txt", site)

    client = make_client(Root())
    for name, value in (("If-None-Match", "*"), ("If-Match", '"x"'), ("Range", "bytes=0-0")):
        answer = client.post("/make", headers={name: value})
        assert (answer.status_code, answer.content) == (200, SMALL)


def test_R39_an_author_s_etag_is_used(make_client: MakeClient, site: Path) -> None:
    client = make_client(Files(site, headers=[("ETag", '"mine"')]))
    assert client.get("/static/a.txt").headers["etag"] == '"mine"'
    assert client.get("/static/a.txt", headers={"If-None-Match": '"mine"'}).status_code == 304


def test_R39_files_with_the_same_bytes_share_an_etag(make_client: MakeClient, site: Path) -> None:
    """Another machine, and the next release, have other times and inodes."""
    client, place = make_client(Files(site)), site / "a.txt"
    tag = client.get("/static/a.txt").headers["etag"]
    release(place, SMALL, MODIFIED + 3600)
    assert client.get("/static/a.txt", headers={"If-None-Match": tag}).status_code == 304
    release(place, SMALL + b"x", MODIFIED + 3600)
    assert client.get("/static/a.txt").headers["etag"] == tag_of(SMALL + b"x")


@pytest.mark.parametrize("seconds", [0, -1_000_000_000, 1 << 33, 200_000_000_000])
def test_R39_unusual_modification_times_are_sent_safely(
    make_client: MakeClient, site: Path, seconds: int
) -> None:
    """Before 1970, which is no date, and later than the response's own Date, which Last-Modified
    must not be.
    """
    os.utime(site / "a.txt", (seconds, seconds))
    before = int(time.time())
    answer = make_client(Files(site)).get("/static/a.txt")
    allowed = {
        formatdate(min(seconds, now), usegmt=True) if seconds > 0 else None
        for now in range(before, int(time.time()) + 1)
    }
    assert answer.headers.get("last-modified") in allowed


def test_R39_a_file_from_the_future_is_dated_like_its_response(
    make_client: MakeClient, site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.utime(site / "a.txt", (MODIFIED + 100, MODIFIED + 100))
    client = make_client(Files(site))
    for seconds in (0, 5):
        monkeypatch.setattr(time, "time", lambda now=MODIFIED + seconds: float(now))
        monkeypatch.setattr(time, "time_ns", lambda now=MODIFIED + seconds: now * 10**9)
        seen = client.get("/static/a.txt").headers["last-modified"]
        assert seen == formatdate(MODIFIED + seconds, usegmt=True)


# -- files whose time is no clock's ----------------------------------------------------------------

# Nix, buildpacks, SOURCE_DATE_EPOCH=0, Gradle, Yarn, npm, Bazel, Hatch, and a day that was chosen
NO_DATES = [1, 315_532_801, 0, 318_211_200, 456_789_000, 499_162_500, 946_684_800, 1_580_601_600]
NO_DATES += [1_704_067_200]
# A commit's, a copied one, and one of the future
TOOLS_TIMES = [*NO_DATES, MODIFIED, MODIFIED + 0.5, 1 << 33]


def release(place: Path, content: bytes, seconds: float) -> None:
    """Replace a file as a build does that gives each of its files the same time."""
    new = place.with_name("new")
    new.write_bytes(content)
    os.utime(new, (seconds, seconds))
    new.replace(place)


@pytest.mark.parametrize("options", [{}, {"cached": True}, {"follow_symlinks": True}], ids=str)
@pytest.mark.parametrize("seconds", TOOLS_TIMES)
@pytest.mark.parametrize("size", [20, 300_000])
def test_R39_each_release_of_a_file_has_its_own_etag(
    make_client: MakeClient,
    site: Path,
    options: dict[str, Any],
    seconds: float,
    size: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if "cached" in options:  # it may be a second late
        monkeypatch.setattr(recent, "FRESH_FOR", 0.0)
    client = make_client(Files(site, **options))
    place, url = site / "a.txt", "/static/a.txt"
    first, second = b"a" * size, b"b" * size
    release(place, first, seconds)
    old = client.get(url)
    assert old.content == first
    known = {"If-None-Match": old.headers["etag"]}
    for _ in range(2):
        assert client.get(url, headers=known).status_code == 304
    release(place, second, seconds)
    for headers in (known, {"Range": "bytes=5-", "If-Range": old.headers["etag"]}):
        answer = client.get(url, headers=headers)
        assert (answer.status_code, answer.content) == (200, second)
    tag = answer.headers["etag"]
    assert client.get(url, headers={"If-Match": old.headers["etag"]}).status_code == 412
    part = client.get(url, headers={"Range": "bytes=5-", "If-Range": tag})
    assert (part.status_code, part.content) == (206, second[5:])
    # The file itself is written again, and gets its old time.
    place.write_bytes(first)
    os.utime(place, (seconds, seconds))
    again = client.get(url)
    assert (again.content, again.headers["etag"]) == (first, old.headers["etag"])


@pytest.mark.parametrize("seconds", TOOLS_TIMES)
def test_R39_a_modification_time_that_is_not_a_date_is_not_sent(
    make_client: MakeClient, site: Path, seconds: float
) -> None:
    release(site / "a.txt", SMALL, seconds)
    client = make_client(Files(site))
    answer = client.get("/static/a.txt")
    is_date = seconds not in NO_DATES
    assert ("last-modified" in answer.headers) == is_date
    date = formatdate(seconds, usegmt=True)
    statuses = [
        client.get("/static/a.txt", headers={name: date, **more}).status_code
        for name, more in (
            ("If-Modified-Since", {}),
            ("If-Unmodified-Since", {}),
            ("If-Range", {"Range": "bytes=1-2"}),
        )
    ]
    # RFC 9110, section 13.1.4: without a date the condition is ignored. A range needs a strong
    # validator (section 13.1.5), and no date is one.
    assert statuses == ([304, 200, 200] if is_date else [200, 200, 200])


@pytest.mark.parametrize("size", [20, 300_000])
@pytest.mark.parametrize(
    ("changed", "later"),
    [(BY_CLOCK, 10**7), (MODIFIED * 10**9, 15 * 10**8)],
    ids=["fine", "coarse"],
)
def test_R39_changes_within_one_clock_tick_of_the_file_system_are_noticed(
    make_client: MakeClient,
    site: Path,
    cached: bool,
    size: int,
    changed: int,
    later: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """``stat`` does not show the second change, nor does it a moment later."""
    now = [changed + later]

    def coarse(found: os.stat_result) -> Facts:
        return found.st_size, changed, changed, 1, 1

    monkeypatch.setattr(lookup, "facts_of", coarse)
    monkeypatch.setattr(lookup, "_STEP", 50_000_000)
    monkeypatch.setattr(time, "time_ns", lambda: now[0])
    monkeypatch.setattr(recent, "FRESH_FOR", 0.0)
    fingerprints.KNOWN.clear()
    app, place = Files(site, cached=cached), site / "a.txt"
    client = make_client(app)
    for letter in (b"a", b"b"):
        place.write_bytes(letter * size)
        for _ in range(2):
            answer = client.get("/static/a.txt")
            assert (answer.content, answer.headers["etag"]) == (
                place.read_bytes(),
                tag_of(place.read_bytes()),
            )
            assert tag_of(place.read_bytes())[1:-1] in app.static_url("a.txt")
    assert not fingerprints.IDENTIFIED
    now[0] += 3 * 10**9
    assert client.get("/static/a.txt").headers["etag"] == answer.headers["etag"]
    assert len(fingerprints.IDENTIFIED) == 1


@pytest.mark.parametrize("size", [20, 300_000])
def test_R39_a_change_after_the_file_was_read_is_noticed(
    make_client: MakeClient, site: Path, cached: bool, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``stat`` doesn't show the change, and the process waits until the file seems settled."""
    now = [BY_CLOCK + 10**6]
    monkeypatch.setattr(lookup, "facts_of", lambda found: (found.st_size, BY_CLOCK, BY_CLOCK, 1, 1))
    monkeypatch.setattr(lookup, "_STEP", 50_000_000)
    monkeypatch.setattr(time, "time_ns", lambda: now[0])
    monkeypatch.setattr(recent, "FRESH_FOR", 0.0)
    place = site / "a.txt"
    looks: list[object] = []
    place.write_bytes(b"a" * size)

    def changing(read: Callable[..., Any]) -> Callable[..., Any]:
        def read_and_change(*arguments: Any) -> Any:
            found = read(*arguments)
            if not looks:
                looks.append(found)
                place.write_bytes(b"b" * size)
                now[0] += 10**9
            return found

        return read_and_change

    monkeypatch.setattr(static, "_read", changing(static._read))
    monkeypatch.setattr(fingerprints, "_digest", changing(fingerprints._digest))
    client = make_client(Files(site, cached=cached))
    client.get("/static/a.txt")
    answer = client.get("/static/a.txt")
    assert (answer.content, answer.headers["etag"]) == (b"b" * size, tag_of(b"b" * size))


def test_R39_a_large_file_changed_recently_has_a_weak_etag(
    make_client: MakeClient, site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lookup, "_STEP", 1 << 62)
    monkeypatch.setattr(fingerprints, "LARGEST_NEW", 10)
    client, url = make_client(Files(site)), "/static/large.bin"
    tag = client.get(url).headers["etag"]
    assert tag.startswith('W/"')
    # It may have changed since then, with the same times.
    assert client.head(url, headers={"If-None-Match": tag}).status_code == 200
    whole = client.get(url, headers={"Range": "bytes=1-2", "If-Range": tag})
    assert (whole.status_code, whole.content) == (200, LARGE)
    monkeypatch.setattr(lookup, "_STEP", -(1 << 62))
    assert client.get(url).headers["etag"] == tag_of(LARGE)
    monkeypatch.setattr(fingerprints, "LARGEST_REQUESTED", 10)
    monkeypatch.setattr(static, "LARGEST_REQUESTED", 10)
    fingerprints.IDENTIFIED.clear()
    assert client.head(url, headers={"If-None-Match": tag}).status_code == 200


def test_R39_a_large_file_of_a_container_image_gets_a_new_etag_per_response(
    make_client: MakeClient, site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In squashfs and erofs, each release may have the same facts: the inode's time is the file's."""
    second = 10**9
    monkeypatch.setattr(lookup, "facts_of", lambda found: (found.st_size, second, second, 1, 1792))
    for module in (fingerprints, static):
        monkeypatch.setattr(module, "LARGEST_REQUESTED", 10)
    client, url = make_client(Files(site)), "/static/large.bin"
    tag = client.get(url).headers["etag"]
    assert client.get(url, headers={"If-None-Match": tag}).status_code == 200
    part = client.get(url, headers={"Range": "bytes=1-2", "If-Range": tag})
    assert (part.status_code, part.content) == (200, LARGE)
    assert not fingerprints.IDENTIFIED


@pytest.mark.parametrize(
    ("changed", "seconds_later", "settled"),
    [
        (BY_CLOCK, 0, False),
        (BY_CLOCK, 0.04, False),
        (BY_CLOCK, 0.06, True),
        (BY_CLOCK, -300, False),  # the clock of a file server may be fast
        (BY_CLOCK, -86400, True),  # the clock was wrong
        (MODIFIED * 10**9, 1.9, False),
        (MODIFIED * 10**9, 2.1, True),
    ],
)
def test_R39_a_file_is_settled_once_its_last_change_is_old_enough(
    monkeypatch: pytest.MonkeyPatch, changed: int, seconds_later: float, settled: bool
) -> None:
    monkeypatch.setattr(lookup, "_STEP", lookup.SECOND // 20)
    assert lookup.is_settled(changed, changed + int(seconds_later * 10**9)) == settled


def test_R39_a_large_file_is_read_once_for_many_requests(
    site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first reads the file only when all others have found it unknown."""
    count, reads, unknown = 4, [], threading.Semaphore(0)

    def is_settled(*_: Any) -> bool:
        unknown.release()
        return True

    def counted(*arguments: Any) -> int:
        reads.append(arguments)
        for _ in range(count if len(reads) == 1 else 0):
            assert unknown.acquire(timeout=60)
        return open_resolved(*arguments)

    monkeypatch.setattr(fingerprints, "is_settled", is_settled)
    monkeypatch.setattr(fingerprints, "open_resolved", counted)
    found = find(str(site), "large.bin", (), False)
    with ThreadPoolExecutor(count) as pool:
        tasks = [
            pool.submit(fingerprints.identified, str(site), found, False) for _ in range(count)
        ]
    assert {task.result().etag for task in tasks} == {tag_of(LARGE)}
    assert len(reads) == 1


def test_R39_a_file_that_changes_while_it_is_hashed_is_noticed(
    make_client: MakeClient, site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def digest_and_change(*arguments: Any) -> Any:
        with (site / "large.bin").open("ab") as file:
            file.write(b"x")
        return hashlib_file_digest(*arguments)

    hashlib_file_digest = hashlib.file_digest
    monkeypatch.setattr(hashlib, "file_digest", digest_and_change)
    tag = make_client(Files(site)).head("/static/large.bin").headers["etag"]
    assert tag != tag_of((site / "large.bin").read_bytes())


@pytest.mark.parametrize("other", ["/dev/zero", "/dev"])
def test_R39_a_replaced_file_is_not_hashed_for_the_old_one(
    make_client: MakeClient, site: Path, other: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = []

    def open_other(*_: Any) -> int:
        opened.append(os.open(other, os.O_RDONLY))
        return opened[-1]

    monkeypatch.setattr(fingerprints, "open_resolved", open_other)
    answer = make_client(Files(site)).get("/static/large.bin")
    assert (answer.status_code, answer.content, len(opened)) == (200, LARGE, 1)
    with pytest.raises(OSError, match="descriptor"):
        os.fstat(opened[0])


def test_R39_a_compressed_file_s_etag_depends_on_its_own_bytes(
    make_client: MakeClient, site: Path
) -> None:
    client, asked = make_client(Files(site)), {"Accept-Encoding": "br"}
    tags = set()
    for content in (b"brotli", b"BROTLI"):
        release(site / "app.js", b"plain script", 1)
        release(site / "app.js.br", content, 1)
        answer = client.head("/static/app.js", headers=asked)
        assert answer.headers["etag"].endswith('-br"')
        tags.add(answer.headers["etag"])
    assert len(tags) == 2


def test_R39_a_large_file_is_not_hashed_for_its_etag(
    make_client: MakeClient, site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fingerprints, "LARGEST_REQUESTED", 10)
    monkeypatch.setattr(static, "LARGEST_REQUESTED", 10)
    monkeypatch.setattr(static, "SMALL", 10)
    client, tags = make_client(Files(site)), set()
    for content in (b"a" * 11, b"b" * 11):
        release(site / "a.txt", content, 1)
        tag = client.get("/static/a.txt").headers["etag"]
        assert client.get("/static/a.txt", headers={"If-None-Match": tag}).status_code == 304
        assert tag.startswith('"b-3b9aca00-')
        tags.add(tag)
    assert len(tags) == len(fingerprints.IDENTIFIED) == 2


def test_R39_the_latest_fingerprints_are_kept(
    make_client: MakeClient, site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fingerprints, "_MOST_IDENTIFIED", 2)
    client = make_client(Files(site))
    for number in range(6):
        release(site / f"{number}.txt", b"x", 1)
        assert client.get(f"/static/{number}.txt").status_code == 200
    assert [file.path[-5:] for file in fingerprints.IDENTIFIED] == ["4.txt", "5.txt"]


def test_R39_a_file_is_hashed_once_for_its_etag(
    make_client: MakeClient, site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = []

    def counted(*arguments: Any) -> int:
        opened.append(arguments)
        return open_resolved(*arguments)

    monkeypatch.setattr(fingerprints, "open_resolved", counted)
    monkeypatch.setattr(static, "open_resolved", counted)
    client = make_client(Files(site))
    for name, tag_and_body in (("a.txt", 1), ("large.bin", 2)):
        for _ in range(3):
            client.get(f"/static/{name}")
        assert len(opened) == 2 + tag_and_body
        opened.clear()


def test_R39_a_cached_file_is_not_sent_again_in_another_encoding(
    make_client: MakeClient, site: Path, cached: bool
) -> None:
    """A head is made once for each version of a file; all that differs between two requests still
    counts.
    """
    (site / "same.css").hardlink_to(site / "a.txt")
    client = make_client(Files(site, cached=cached, max_age=60))
    tag = client.get("/static/a.txt").headers["etag"]
    assert client.get("/static/a.txt", headers={"If-None-Match": tag}).status_code == 304
    lines = [("If-None-Match", '"other"'), ("Accept-Encoding", "x"), ("If-None-Match", tag)]
    assert client.get("/static/a.txt", headers=lines).status_code == 304
    refused = client.get("/static/a.txt", headers={"If-None-Match": tag, "If-Match": '"other"'})
    assert refused.status_code == 412
    unmodified = {"If-None-Match": tag, "If-Unmodified-Since": formatdate(0, usegmt=True)}
    assert client.get("/static/a.txt", headers=unmodified).status_code == 412
    mine = client.get("/static/a.txt", headers={"If-None-Match": tag, "Authorization": "Basic x"})
    assert (mine.status_code, mine.headers["cache-control"]) == (304, "private, max-age=60")
    assert client.get("/static/same.css").headers["content-type"] == "text/css; charset=utf-8"
    assert client.get("/static/a.txt").headers["content-type"] == "text/plain; charset=utf-8"


def test_R39_dates_are_in_english_under_every_locale(
    make_client: MakeClient, site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = locale.setlocale(locale.LC_TIME)
    try:
        locale.setlocale(locale.LC_TIME, "de_DE.UTF-8")
    except locale.Error:  # not installed: nothing that heeds the locale may be asked

        def german(*_: Any) -> str:
            raise AssertionError("strftime heeds the locale")

        monkeypatch.setattr(time, "strftime", german)
    try:
        os.utime(site / "a.txt", (1_700_000_123, 1_700_000_123))
        answer = make_client(Files(site)).get("/static/a.txt")
    finally:
        locale.setlocale(locale.LC_TIME, before)
    assert answer.headers["last-modified"] == "Tue, 14 Nov 2023 22:15:23 GMT"


# -- files compressed ahead ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "accepts", "coding", "content"),
    [
        ("app.js", "gzip, deflate, br", "br", b"brotli"),
        ("app.js", "gzip", "gzip", SITE["app.js.gz"]),
        ("app.js", "br;q=0, gzip", "gzip", SITE["app.js.gz"]),
        ("app.js", "br;q=0, gzip;q=0", None, b"plain script"),
        ("app.js", "identity", None, b"plain script"),
        ("app.js", "identity;q=1, *;q=0", None, b"plain script"),
        ("app.js", "*", "br", b"brotli"),
        ("app.js", "gzip, br;q=0.9", "gzip", SITE["app.js.gz"]),
        ("only.css", "br, gzip", "gzip", SITE["only.css.gz"]),
        ("only.css", "br", None, b"plain style"),
    ],
)
def test_compressed_files_are_sent_to_clients_that_accept_them(
    make_client: MakeClient,
    site: Path,
    name: str,
    accepts: str,
    coding: str | None,
    content: bytes,
    cached: bool,
) -> None:
    client = make_client(Files(site, cached=cached))
    url, headers = f"/static/{name}", {"Accept-Encoding": accepts}
    with client.stream("GET", url, headers=headers) as answer:
        assert b"".join(answer.iter_raw()) == content
    assert answer.headers.get("content-encoding") == coding
    assert answer.headers["vary"] == "Accept-Encoding"
    assert answer.headers["content-length"] == str(len(content))
    assert answer.headers["content-type"] == content_type_of(name)
    assert answer.headers["etag"] == tag_of(content, coding or "")
    assert client.head(url, headers=headers).headers == answer.headers
    # A range is one of the compressed bytes: they are the representation (RFC 9110, section
    # 14.1.2).
    with client.stream("GET", url, headers={**headers, "Range": "bytes=1-3"}) as part:
        assert b"".join(part.iter_raw()) == content[1:4]
    assert part.headers["content-range"] == f"bytes 1-3/{len(content)}"


def test_a_compressed_file_has_its_own_etag(make_client: MakeClient, site: Path) -> None:
    headers = {"Accept-Encoding": "gzip, br"}
    answer = make_client(Files(site)).get("/static/app.js.gz", headers=headers)
    assert answer.content == SITE["app.js.gz"]
    assert answer.headers["content-type"] == "application/gzip"
    assert "content-encoding" not in answer.headers
    assert "vary" not in answer.headers


def test_an_outdated_compressed_file_is_not_sent(
    make_client: MakeClient, site: Path, cached: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = make_client(Files(site, cached=cached))
    headers = {"Accept-Encoding": "gzip"}
    assert client.get("/static/only.css", headers=headers).headers["content-encoding"] == "gzip"
    os.utime(site / "only.css", (MODIFIED + 1, MODIFIED + 1))
    monkeypatch.setattr(time, "monotonic", lambda: 1e12)
    answer = client.get("/static/only.css", headers=headers)
    assert "content-encoding" not in answer.headers
    assert "vary" not in answer.headers


def test_a_compressed_file_of_the_previous_release_is_not_sent(
    make_client: MakeClient, site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A build gives all files one time, and a release replaces one file after the other."""
    client, place = make_client(Files(site)), site / "only.css"
    headers = {"Accept-Encoding": "gzip"}

    def replace(file: Path, content: bytes, copying: int) -> str | None:
        newest = max(one.stat().st_ctime_ns for one in site.iterdir())

        def is_newer() -> bool:
            release(file, content, 1)
            return file.stat().st_ctime_ns > newest

        until(is_newer)  # the clock of a file system moves in steps
        monkeypatch.setattr(lookup, "_COPYING", copying)
        coding: str | None = client.get("/static/only.css", headers=headers).headers.get(
            "content-encoding"
        )
        return coding

    compressed = place.with_name("only.css.gz")
    release(place, b"old", 1)
    assert replace(compressed, gzip.compress(b"old"), 0) == "gzip"
    assert replace(place, b"new", lookup.SECOND * 60) == "gzip"  # still copying
    assert replace(place, b"new", 0) is None
    assert replace(compressed, gzip.compress(b"new"), 0) == "gzip"


@pytest.mark.parametrize("options", [{}, {"max_age": 60, "headers": {"X-Own": "1"}}], ids=str)
def test_R39_changes_on_the_disk_are_visible_immediately(
    make_client: MakeClient, site: Path, options: dict[str, Any]
) -> None:
    client, place = make_client(Files(site, **options)), site / "a.txt"
    headers = {"Accept-Encoding": "gzip"}

    def answered() -> tuple[int, bytes | None, str | None]:
        for _ in range(2):  # the second is the one that looks nowhere but at the disk
            answer = client.get("/static/a.txt", headers=headers)
        known = client.get(
            "/static/a.txt", headers={**headers, "If-None-Match": answer.headers.get("etag", "*")}
        )
        assert known.status_code == (304 if answer.status_code == 200 else 404)
        is_file = answer.status_code == 200
        return answer.status_code, answer.content if is_file else None, answer.headers.get("vary")

    assert answered() == (200, SMALL, None)
    beside = site / "a.txt.gz"
    beside.write_bytes(gzip.compress(b"packed"))
    assert answered() == (200, b"packed", "Accept-Encoding")
    beside.write_bytes(gzip.compress(b"packed anew"))
    assert answered() == (200, b"packed anew", "Accept-Encoding")
    beside.unlink()
    assert answered() == (200, SMALL, None)
    (site / "new").write_bytes(b"replaced")
    (site / "new").replace(place)
    assert answered() == (200, b"replaced", None)
    place.unlink()
    place.mkdir()
    assert answered() == (404, None, "Accept")
    place.rmdir()
    place.symlink_to("../secret.txt")
    assert answered() == (404, None, "Accept")
    place.unlink()
    place.symlink_to("empty.txt")
    assert answered() == (200, b"", None)


# -- the head's other headers ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.html", "text/html; charset=utf-8"),
        ("a.HTML", "text/html; charset=utf-8"),
        ("a.css", "text/css; charset=utf-8"),
        ("a.js", "text/javascript; charset=utf-8"),
        ("a.mjs", "text/javascript; charset=utf-8"),
        ("a.json", "application/json"),
        ("a.avif", "image/avif"),
        ("a.webm", "video/webm"),
        ("a.m3u8", "application/vnd.apple.mpegurl"),
        ("a.ts", "video/mp2t"),
        ("a.mpd", "application/dash+xml"),
        ("a.m4s", "video/iso.segment"),
        ("a.webmanifest", "application/manifest+json"),
        ("a.svg", "image/svg+xml"),
        ("a.png", "image/png"),
        ("a.webp", "image/webp"),
        ("a.woff2", "font/woff2"),
        ("a.wasm", "application/wasm"),
        ("a.pdf", "application/pdf"),
        ("a.xml", "application/xml"),
        ("a.tar.gz", "application/gzip"),
        ("a.tar", "application/x-tar"),
        ("a.tsv", "text/tab-separated-values; charset=utf-8"),
        ("a.js.br", "application/octet-stream"),
        ("a", "application/octet-stream"),
        ("a.", "application/octet-stream"),
        ("a.unknown", "application/octet-stream"),
        ("dir.html/a", "application/octet-stream"),
        ("dir/.html", "application/octet-stream"),
        ("html", "application/octet-stream"),
        ("a.h\ntml", "application/octet-stream"),
        ("a.html\x00", "application/octet-stream"),
    ],
)
def test_R41_content_types_depend_on_the_file_s_extension(name: str, expected: str) -> None:
    assert content_type_of(name) == expected


def test_R41_content_types_do_not_depend_on_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    mimetypes.init()
    assert mimetypes._db is not None  # type: ignore[attr-defined]
    monkeypatch.setitem(mimetypes._db.types_map[True], ".unknown", "text/html")  # type: ignore[attr-defined]
    assert mimetypes.guess_type("a.unknown")[0] == "text/html"
    filetypes._types.cache_clear()
    assert content_type_of("a.unknown") == "application/octet-stream"


def test_R41_files_of_unknown_type_are_not_sniffed(make_client: MakeClient, site: Path) -> None:
    client = make_client(Files(site))
    for name in ("dir/unknown.xyz", "a.txt", "large.bin"):
        for method, headers in (("GET", {}), ("HEAD", {}), ("GET", {"Range": "bytes=0-0"})):
            answer = client.request(method, f"/static/{name}", headers=headers)
            assert answer.headers["x-content-type-options"] == "nosniff"
    unknown = client.get("/static/dir/unknown.xyz")
    assert unknown.headers["content-type"] == "application/octet-stream"


def test_R41_a_link_never_reaches_a_hidden_name(
    make_client: MakeClient, site: Path, cached: bool
) -> None:
    links = {
        "env.txt": ".env",
        "shown": ".git",
        "dir/up.txt": "../.env",
        "chain": "shown",
        "inner.txt": "dir/.hidden/x.txt",
    }
    for name, target in links.items():
        (site / name).symlink_to(target)
    names = ("env.txt", "shown/config", "dir/up.txt", "chain/config", "inner.txt")
    client = make_client(Files(site, cached=cached))
    for name in names:
        answer = client.get(f"/static/{name}")
        assert (answer.status_code, SECRET in answer.text) == (404, False), name
    follows = make_client(Files(site, cached=cached, follow_symlinks=True))
    assert [follows.get(f"/static/{name}").status_code for name in names] == [200] * len(names)


def test_R41_a_hidden_directory_may_be_served_explicitly(
    make_client: MakeClient, site: Path
) -> None:
    (site / ".git" / "inner").symlink_to("config")
    app = App()
    app.static("/.well-known", site / ".git")
    client = make_client(app)
    assert client.get("/.well-known/config").text == SECRET
    assert client.get("/.well-known/inner").text == SECRET


@pytest.mark.parametrize(
    ("name", "header"),
    [
        ("a.txt", 'attachment; filename="a.txt"'),
        ("a b;c.txt", 'attachment; filename="a b;c.txt"'),
        ("\u2100", "attachment; filename=\"a_c\"; filename*=UTF-8''%E2%84%80"),
        ("\uff02\uff0f", "attachment; filename=\"__\"; filename*=UTF-8''%EF%BC%82%EF%BC%8F"),
        ("é.txt", "attachment; filename=\"e.txt\"; filename*=UTF-8''%C3%A9.txt"),
        ("日本", "attachment; filename=\"download\"; filename*=UTF-8''%E6%97%A5%E6%9C%AC"),
        ('a"b\\c.txt', "attachment; filename=\"a_b_c.txt\"; filename*=UTF-8''a%22b_c.txt"),
        ("a%20b", "attachment; filename=\"a_20b\"; filename*=UTF-8''a%2520b"),
        ("a\r\nSet-Cookie: x", 'attachment; filename="a__Set-Cookie: x"'),
        ("../../etc/passwd", 'attachment; filename=".._.._etc_passwd"'),
        ("\ud800.txt", 'attachment; filename="?.txt"'),
        ("\x00\x1f\x7f", 'attachment; filename="___"'),
        (
            "€'(1)*.pdf",
            "attachment; filename=\"'(1)*.pdf\"; filename*=UTF-8''%E2%82%AC%27%281%29%2A.pdf",
        ),
    ],
    ids=ascii,
)
def test_R1_R2_names_of_downloads_are_encoded_safely(name: str, header: str) -> None:
    assert attachment(name) == header


@pytest.mark.parametrize(
    "sign", ["\u202e", "\u2066", "\u200f", "\u061c", "\u200b", "\ufeff", "\u2028", "\x9b"]
)
def test_R1_invisible_characters_are_removed_from_download_names(sign: str) -> None:
    assert attachment(f"invoice-{sign}fdp.exe") == 'attachment; filename="invoice-fdp.exe"'


def test_downloads_have_the_file_s_name(make_client: MakeClient, site: Path) -> None:
    client = make_client(Files(site, download=True))
    (site / "dir" / "deep").mkdir()
    (site / "dir" / "deep" / "c.txt").write_text("c")
    for place, name in (("dir", "page.html"), ("dir/deep", "c.txt")):
        answer = client.get(f"/static/{place}/{name}")
        assert answer.headers["content-disposition"] == f'attachment; filename="{name}"'
    named = make_client(
        Files(site, download="bill é.txt", content_type="text/x-bill", headers={"X-Own": "1"})
    )
    answer = named.get("/static/a.txt")
    assert answer.headers["content-disposition"].endswith("filename*=UTF-8''bill%20%C3%A9.txt")
    assert (answer.headers["content-type"], answer.headers["x-own"]) == ("text/x-bill", "1")


def test_R28_a_download_s_name_is_limited_like_a_file(make_client: MakeClient, site: Path) -> None:
    """Marks of two classes in turn take quadratic time to sort."""
    marks = "a" + "\u0301\u0316" * 500

    class Reports(App):
        def named(self, name: str) -> Any:
            return static_file("a.txt", root=site, download=name)

        def asked(self, name: str) -> Any:
            return static_file(name, root=site, download=True)

    client = make_client(Reports())
    header = client.post("/named", data={"name": marks}).headers["content-disposition"]
    assert header.count("%CC") == 254
    assert client.post("/asked", data={"name": marks}).status_code == 404


def test_max_age_and_personal_data_determine_cache_control(
    make_client: MakeClient, site: Path
) -> None:
    class Guarded(Files):
        def mine(self) -> Any:
            self.request.session.get("user")
            return static_file("a.txt", site, max_age=60)

    client = make_client(Guarded(site, max_age=3600))
    assert client.get("/static/a.txt").headers["cache-control"] == "public, max-age=3600"
    secret = client.get("/static/a.txt", headers={"Authorization": "Basic x"})
    assert secret.headers["cache-control"] == "private, max-age=3600"
    personal = client.get("/mine").headers
    assert (personal["cache-control"], personal["vary"]) == ("private, max-age=60", "Cookie")
    own = make_client(Files(site, max_age=3600, headers={"cache-control": "no-store"}))
    assert own.get("/static/a.txt").headers.get_list("cache-control") == ["no-store"]


def test_one_response_s_headers_do_not_affect_another(site: Path) -> None:
    """Servers and middleware may change the list that they are given; the next answer must not have
    it.
    """
    app = Files(site)
    heads: list[list[Any]] = []

    async def both() -> None:
        for _ in range(3):  # the first by a thread
            call = await asgi.get(app, "/static/a.txt")
            heads.append(call.sent[0]["headers"])
            heads[-1].append((b"x-added", b"1"))

    asgi.run("asyncio", both)
    assert [len(head) for head in heads] == [len(heads[0])] * 3
    del heads[:]
    for _ in range(3):
        environ = wsgi.environ_for("GET", "/static/a.txt")
        list(app(environ, lambda status, headers: heads.append(headers)))
        heads[-1].append(("X-Added", "1"))
    assert [len(head) for head in heads] == [len(heads[0])] * 3
    assert heads[0] is not heads[1]


def test_status_and_headers_set_on_the_response_are_sent_with_a_file(
    make_client: MakeClient, site: Path
) -> None:
    class Root(App):
        def status(self, status: int) -> Any:
            self.response.status = status
            return static_file("a.txt", site)

        def kind(self) -> Any:
            self.response.content_type = "text/x-own"
            return static_file("a.txt", site)

        def header(self) -> Any:
            self.response.headers["X-Own"] = "1"
            return static_file("a.txt", site)

        def cookie(self) -> Any:
            self.request.cookies.get("a")
            return static_file("a.txt", site)

    client = make_client(Root())
    plain = dict(make_client(Files(site)).get("/static/a.txt").headers)
    unknown = {"etag": None, "last-modified": None, "accept-ranges": None}
    for path, status, expected in (
        ("/status/203", 203, unknown),
        ("/kind", 200, {"content-type": "text/x-own"}),
        ("/header", 200, {"x-own": "1"}),
        ("/cookie", 200, {"vary": "Cookie"}),
    ):
        # only a 200 has parts
        answer = client.get(path, headers={"Range": "bytes=0-0"} if status == 203 else {})
        assert (answer.status_code, answer.content) == (status, SMALL)
        headers = {name: answer.headers.get(name) for name in {**plain, **expected}}
        assert headers == {**plain, **expected}, path
    empty = client.get("/status/204")
    assert (empty.content, empty.headers.get("content-length")) == (b"", None)


def test_on_close_functions_see_a_file_response_s_status_and_length(
    make_client: MakeClient, site: Path
) -> None:
    seen = []

    class Root(App):
        def index(self) -> Any:
            request = self.request
            request.on_close(lambda: seen.append((request.status, request.length)))
            return static_file("a.txt", site)

    make_client(Root()).get("/")
    assert seen == [(200, len(SMALL))]


def test_a_file_response_may_be_returned_twice(make_client: MakeClient, site: Path) -> None:
    same = static_file("a.txt", site)
    app = App()
    app.get("/")(lambda: same)
    client = make_client(app)
    first, second = client.get("/"), client.get("/")
    assert (first.content, first.headers) == (second.content, second.headers)
    assert len(same.headers) == 0


# -- errors and hooks ------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [None, 410])
def test_an_error_page_may_be_a_file(
    make_client: MakeClient, site: Path, status: int | None, cached: bool, nothing_stays_open: None
) -> None:
    app = Files(site)

    @app.error(404)
    def missing() -> Response:
        page = static_file("dir/page.html", site, cached=cached)
        page.status = status or page.status
        return page

    client = make_client(app)
    for headers in ({}, {"If-None-Match": "*"}, {"Range": "bytes=0-0"}):
        answer = client.get("/static/nowhere.txt", headers=headers)
        assert (answer.status_code, answer.text) == (status or 404, "<p>page")
        assert "etag" not in answer.headers
    assert client.head("/nowhere").headers["content-length"] == "7"


@pytest.mark.parametrize("key", [500, 503, 404, 409, KeyError])
@pytest.mark.parametrize(
    "raised", [KeyError("pie"), HTTPError(503, "Later.", {"Retry-After": "5"})]
)
def test_a_missing_error_page_file_gets_the_default_page(
    make_client: MakeClient,
    site: Path,
    caplog: pytest.LogCaptureFixture,
    key: Any,
    raised: Exception,
) -> None:
    """The response to a failure must not become the 404 of the file."""

    class Root(App):
        def fails(self) -> None:
            raise raised

    app = Root(errors="text")
    app.error(key)(lambda: static_file("nowhere.html", site))
    client = make_client(app, raise_app_exceptions=False)
    assert client.get("/x").text == "404 Not Found"
    caplog.clear()
    answer = client.get("/fails")
    is_busy = isinstance(raised, HTTPError)
    expected = (503, "Later.", "5") if is_busy else (500, "500 Internal Server Error", None)
    assert (answer.status_code, answer.text, answer.headers.get("retry-after")) == expected
    is_called = key == (503 if is_busy else 500) or (key is KeyError and not is_busy)
    sentence = f"GET '/fails': there is no error page 'nowhere.html' in {str(site)!r}"
    assert caplog.messages.count(sentence) == is_called
    # a failure is logged once
    assert len(caplog.messages) == is_called + (not is_busy)


@pytest.mark.parametrize("condition", [("Range", "bytes=99-", 416), ("If-Match", '"x"', 412)])
def test_an_error_page_with_the_status_200_may_be_conditional(
    make_client: MakeClient, site: Path, condition: tuple[str, str, int]
) -> None:
    app = App()

    @app.error(404)
    def page() -> Response:
        app.request.response.status = 200
        return static_file("a.txt", site)

    name, value, status = condition
    client = make_client(app)
    assert client.get("/x").status_code == 200
    assert client.get("/x", headers={name: value}).status_code == status


class Before(HttpMiddleware):
    """Sets headers before the handler does."""

    def before_request(self, request: Any) -> None:
        headers = request.response.headers
        headers["X-Before"] = headers["X-Both"] = "1"
        headers["Cache-Control"], headers["Expires"] = "public, max-age=600", "0"
        headers["Content-Language"] = "de"
        request.response.set_cookie("visitor", "7")


@pytest.mark.parametrize("has_page", [False, True])
@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("/static/nowhere", {}, 404),
        ("/static/a.txt", {"Range": "bytes=99-"}, 416),
        ("/static/a.txt", {"If-Match": '"x"'}, 412),
        ("/file", {}, 404),
        ("/changed", {}, 404),
        ("/nowhere", {}, 404),
    ],
)
def test_the_error_for_a_file_keeps_the_headers_that_were_set_before(
    make_client: MakeClient,
    site: Path,
    path: str,
    headers: dict[str, str],
    status: int,
    has_page: bool,
) -> None:
    own = {"X-Both": "2", "X-File": "1", "Set-Cookie": "file=1"}
    app = Files(site, headers=own)
    app.middlewares.append(Before())
    app.get("/file")(lambda: static_file("nowhere", site, headers=own, content_type="text/css"))

    @app.get("/changed")
    def changed() -> Response:
        app.request.response.body = static_file("nowhere", site).body
        return app.request.response

    if has_page:
        app.error(status)(
            lambda: static_file("no-page", site, headers=own, content_type="text/css")
        )
    answer = make_client(app).get(path, headers=headers)
    assert (answer.status_code, answer.headers["x-before"]) == (status, "1")
    assert answer.headers.get_list("set-cookie") == ["visitor=7; Path=/; SameSite=Lax"]
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert {"x-file", "content-language"}.isdisjoint(answer.headers)
    if has_page or path != "/nowhere":  # no file was in question
        assert {"cache-control", "expires"}.isdisjoint(answer.headers)


class Hook(HttpMiddleware):
    """Gives ``make(body)`` in place of an answer's body, and keeps what it saw."""

    def __init__(self, make: Callable[[Any], Any] | None = None) -> None:
        self.make = make
        self.seen: list[tuple[int, Any]] = []

    def after_request(
        self,
        request: Any,
        status_code: int,
        response_body: Any,
        extra_headers: list[tuple[str, str]],
    ) -> Any:
        self.seen.append((status_code, response_body))
        extra_headers.append(("X-Hook", "1"))
        return None if self.make is None else {"body": self.make(response_body)}


def test_hooks_see_files_and_their_errors(
    make_client: MakeClient, site: Path, nothing_stays_open: None
) -> None:
    app, hook = Files(site), Hook()
    app.middlewares.append(hook)
    client = make_client(app)
    assert client.get("/static/a.txt").headers["x-hook"] == "1"
    assert client.get("/static/nowhere").headers["x-hook"] == "1"
    assert client.get("/static/large.bin").content == LARGE
    assert client.get("/static/a.txt", headers={"If-None-Match": "*"}).headers["x-hook"] == "1"
    assert [status for status, _ in hook.seen] == [200, 404, 200, 304]
    assert hook.seen[0][1] == SMALL


@pytest.mark.parametrize(
    ("make", "content"),
    [
        (lambda body: b"another", b"another"),
        (lambda body: (chunk for chunk in (b"ano", b"ther")), b"another"),
        (lambda body: b"another" if len(b"".join(body)) == len(LARGE) else b"", b"another"),
        (
            lambda body: (chunk[::-1] for chunk in body),
            b"".join(
                LARGE[start : start + 256 * 1024][::-1]
                for start in range(0, len(LARGE), 256 * 1024)
            ),
        ),
    ],
    ids=["bytes", "generator", "all of it", "wrapped"],
)
def test_R40_a_hook_may_replace_a_file_body(
    make_client: MakeClient, site: Path, make: Any, content: bytes, nothing_stays_open: None
) -> None:
    app = Files(site)
    app.middlewares.append(Hook(make))
    answer = make_client(app).get("/static/large.bin")
    assert (answer.status_code, answer.read()) == (200, content)


@pytest.mark.parametrize("asked", ["large.bin", "a.txt", "nowhere"])
def test_a_hook_may_respond_with_a_file(
    make_client: MakeClient, site: Path, asked: str, nothing_stays_open: None
) -> None:
    def another(request: Any) -> Any:
        with suppress(HTTPError):
            yield
        return static_file("dir/page.html", site)

    app = Files(site)
    app.middlewares.append(another)
    answer = make_client(app).get(f"/static/{asked}")
    assert (answer.status_code, answer.text) == (200, "<p>page")
    assert answer.headers["content-type"] == "text/html; charset=utf-8"


def test_a_hook_may_respond_with_a_missing_file(make_client: MakeClient, site: Path) -> None:
    app = Files(site)
    app.middlewares.append(Hook(lambda body: static_file("nowhere", site).body))
    assert make_client(app).get("/static/a.txt").status_code == 404


def test_a_hook_may_respond_early_with_a_file(make_client: MakeClient, site: Path) -> None:
    def closed(request: Any) -> Any:
        return static_file("dir/page.html", site)
        yield

    app = Files(site)
    app.middlewares.append(closed)
    assert make_client(app).get("/static/a.txt").text == "<p>page"


def test_a_file_that_was_not_opened_is_never_sent() -> None:
    with pytest.raises(CodecError):
        encode_body(static_file("a.txt", "/secret/place").body, None)


# -- files that change, clients that leave ---------------------------------------------------------


@pytest.mark.parametrize("headers", [{}, {"Range": "bytes=100-"}], ids=["whole", "range"])
def test_R40_a_client_that_disconnects_closes_the_file(
    make_client: MakeClient, site: Path, headers: dict[str, str], nothing_stays_open: None
) -> None:
    client = make_client(Files(site))
    for _ in range(3):
        with client.stream("GET", "/static/large.bin", headers=headers) as answer:
            chunks = answer.iter_raw()  # kept, because httpx2 closes the answer with its iterator
            assert len(next(chunks)) == 256 * 1024
            assert open_files(site) != set()
    assert client.get("/static/a.txt").status_code == 200


@pytest.mark.parametrize("headers", [{}, {"Range": "bytes=100-"}], ids=["whole", "range"])
def test_R40_a_file_that_shrinks_aborts_the_response(
    make_client: MakeClient,
    site: Path,
    headers: dict[str, str],
    caplog: pytest.LogCaptureFixture,
    nothing_stays_open: None,
) -> None:
    client = make_client(Files(site), raise_app_exceptions=False)
    with client.stream("GET", "/static/large.bin", headers=headers) as answer:
        chunks = answer.iter_raw()
        next(chunks)
        os.truncate(site / "large.bin", 300 * 1024)
        with pytest.raises(httpx.RemoteProtocolError):
            list(chunks)
    assert "/static/large.bin" in caplog.text
    assert f"{site / 'large.bin'} became shorter" in caplog.text


def test_R40_a_file_that_grows_is_sent_up_to_its_old_length(
    make_client: MakeClient, site: Path, nothing_stays_open: None
) -> None:
    with make_client(Files(site)).stream("GET", "/static/large.bin") as answer:
        received = b""
        for chunk in answer.iter_raw():
            received += chunk
            with (site / "large.bin").open("ab") as file:
                file.write(b"more" * 100_000)
    assert received == LARGE


@pytest.mark.parametrize("name", ["a.txt", "large.bin"])
def test_R40_a_file_replaced_while_it_is_opened_is_sent_consistently(
    make_client: MakeClient,
    site: Path,
    name: str,
    cached: bool,
    monkeypatch: pytest.MonkeyPatch,
    nothing_stays_open: None,
) -> None:
    """The head is that of the file that is sent."""
    looks: list[ResolvedFile] = []

    def find_and_replace(*arguments: Any) -> ResolvedFile:
        found = find(*arguments)
        if len(looks) < 2:
            (site / "new").write_bytes(b"replaced")
            (site / "new").replace(site / name)
        looks.append(found)
        return found

    monkeypatch.setattr(static, "find", find_and_replace)
    answer = make_client(Files(site, cached=cached)).get(f"/static/{name}")
    assert (answer.status_code, answer.content) == (200, b"replaced")
    assert answer.headers["content-length"] == "8"
    assert answer.headers["etag"] == tag_of(b"replaced")
    assert len(looks) == 3


def test_R40_a_cached_file_replaced_before_it_is_opened_is_sent_consistently(
    make_client: MakeClient,
    site: Path,
    monkeypatch: pytest.MonkeyPatch,
    nothing_stays_open: None,
) -> None:
    client, new = make_client(Files(site)), [b"replaced"]
    client.get("/static/large.bin")
    RECENT.clear()  # the event loop would only find it

    def find_and_replace(*arguments: Any) -> ResolvedFile:
        found = find(*arguments)
        if new:
            release(site / "large.bin", new.pop(), MODIFIED)
        return found

    monkeypatch.setattr(static, "find", find_and_replace)
    answer = client.get("/static/large.bin")
    assert (answer.content, answer.headers["etag"]) == (b"replaced", tag_of(b"replaced"))


def test_R40_a_file_that_grows_at_each_hashing_is_sent_with_a_new_etag(
    make_client: MakeClient, site: Path, monkeypatch: pytest.MonkeyPatch, nothing_stays_open: None
) -> None:
    def grow_and_open(*arguments: Any) -> int:
        with (site / "large.bin").open("ab") as file:
            file.write(b"x")
        return open_resolved(*arguments)

    monkeypatch.setattr(fingerprints, "open_resolved", grow_and_open)
    client = make_client(Files(site))
    tags = {client.get("/static/large.bin").headers["etag"] for _ in range(2)}
    assert client.get("/static/large.bin").content == LARGE + b"xxx"
    assert len(tags) == 2


def test_R40_a_file_that_changes_at_every_attempt_gets_a_500(
    make_client: MakeClient,
    site: Path,
    cached: bool,
    monkeypatch: pytest.MonkeyPatch,
    nothing_stays_open: None,
) -> None:
    def find_and_change(*arguments: Any) -> ResolvedFile:
        found = find(*arguments)
        os.utime(site / "a.txt", ns=(0, found.modified_ns + 1))
        return found

    monkeypatch.setattr(static, "find", find_and_change)
    assert make_client(Files(site, cached=cached)).get("/static/a.txt").status_code == 500


def test_R40_a_small_file_that_shrinks_while_it_is_read_is_noticed(
    make_client: MakeClient,
    site: Path,
    cached: bool,
    monkeypatch: pytest.MonkeyPatch,
    nothing_stays_open: None,
) -> None:
    monkeypatch.setattr(static, "is_still", _shrinking(site / "a.txt"))
    answer = make_client(Files(site, cached=cached)).get("/static/a.txt")
    assert answer.status_code == 200  # it is looked at anew, and found to be shorter
    assert (answer.content, answer.headers["etag"]) == (b"", tag_of(b""))


def _shrinking(place: Path) -> Callable[[ResolvedFile, int], bool]:
    def is_still(found: ResolvedFile, descriptor: int) -> bool:
        os.truncate(place, 0)
        return True

    return is_still


def test_R40_head_requests_open_no_file(
    make_client: MakeClient, site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: Any) -> Any:
        raise AssertionError("opened")

    client, names = make_client(Files(site)), ("a.txt", "large.bin", "empty.txt")
    for name in names:
        client.head(f"/static/{name}")  # read for its tag
    monkeypatch.setattr(static, "open_resolved", fails)
    monkeypatch.setattr(fingerprints, "open_resolved", fails)
    for name in names:
        answer = client.head(f"/static/{name}")
        assert (answer.status_code, answer.headers["content-length"]) == (200, str(len(SITE[name])))
    monkeypatch.setattr(static, "find", fails)
    static_file("a.txt", site)


# -- the cache -------------------------------------------------------------------------------------


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is done with the disk."""
    done: list[str] = []

    def noted(what: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def note_and_do(*arguments: Any) -> Any:
            done.append(what)
            return function(*arguments)

        return note_and_do

    monkeypatch.setattr(static, "find", noted("look", find))
    monkeypatch.setattr(static, "open_resolved", noted("open", open_resolved))
    return done


def test_a_cached_file_is_checked_once_a_second(
    site: Path, looks: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    app = Files(site, cached=True)
    ask = _asking(app)
    assert (ask(), looks) == (SMALL, ["look", "open"])
    now[0] += 0.9
    assert (ask(), looks) == (SMALL, ["look", "open"])
    now[0] += 0.2
    assert (ask(), looks) == (SMALL, ["look", "open", "look"])
    now[0] += 0.9
    assert (ask(), looks) == (SMALL, ["look", "open", "look"])
    (site / "a.txt").write_bytes(b"changed")
    assert ask() == SMALL
    now[0] += 0.2
    assert (ask(), looks) == (b"changed", ["look", "open", "look", "look", "open"])
    (site / "a.txt").unlink()
    now[0] += 1.1
    assert ask() == b"404 Not Found"


def _asking(app: App) -> Callable[[], bytes]:
    return lambda: wsgi.get(app, "/static/a.txt")[1]


def test_only_files_meant_for_the_cache_are_cached(
    make_client: MakeClient, site: Path, stays_fresh: None
) -> None:
    app = Files(site)
    app.static("/cached", site, name="cached", cached=True)
    client = make_client(app)
    assert client.get("/cached/a.txt").content == SMALL
    (site / "a.txt").write_bytes(b"changed")
    assert client.get("/static/a.txt").content == b"changed"
    assert client.get("/cached/a.txt").content == SMALL


def test_a_fresh_cached_file_needs_no_thread(
    site: Path, backend: str, monkeypatch: pytest.MonkeyPatch, stays_fresh: None
) -> None:
    app = Files(site, cached=True)

    async def no_thread(*_: Any, **__: Any) -> Any:
        raise AssertionError("a thread was asked for")

    async def twice() -> list[bytes]:
        first = await asgi.get(app, "/static/a.txt")
        monkeypatch.setattr("anyio.to_thread.run_sync", no_thread)
        return [first.body, (await asgi.get(app, "/static/a.txt")).body]

    assert asgi.run(backend, twice) == [SMALL, SMALL]


def test_a_file_that_is_too_large_is_not_cached(
    make_client: MakeClient, site: Path, looks: list[str]
) -> None:
    (site / "huge.bin").write_bytes(LARGE + b"x")
    client = make_client(Files(site, cached=True))
    for _ in range(2):
        assert client.get("/static/huge.bin").content == LARGE + b"x"
    assert looks == ["look", "open"] * 2


def test_cached_files_share_a_limited_memory(
    make_client: MakeClient,
    site: Path,
    looks: list[str],
    stays_fresh: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    room = len(LARGE) + OVERHEAD + len(SMALL) + OVERHEAD
    for missing, again in ((0, []), (1, ["look", "open"])):
        monkeypatch.setattr(static, "CONTENTS", Recent(room - missing))
        client = make_client(Files(site, cached=True))
        looks.clear()
        for name in ("a.txt", "large.bin", "a.txt"):
            assert client.get(f"/static/{name}").content == SITE[name]
        assert looks == ["look", "open"] * 2 + again


@pytest.fixture
def stays_fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("micropie._core.files.recent.FRESH_FOR", 60.0)


def _cached(cache: Recent[Any, Any], names: str) -> str:
    return "".join(name for name in names if cache.fresh(_key(name)) is not None)


def _key(name: str) -> Key:
    return "/root", name, (), False


FOUND = ResolvedFile("/srv/x", "", False, 10, 0, 0, 0, 0, (10, 0, 0, 0, 0))


def test_the_least_recently_used_file_is_dropped(stays_fresh: None) -> None:
    cache: Recent[Any, Any] = Recent(3 * (10 + OVERHEAD))
    now = time.monotonic()
    for name in "abc":
        cache.put(_key(name), (FOUND, b"x" * 10), now, 10 + OVERHEAD)
    assert _cached(cache, "abc") == "abc"
    cache.fresh(_key("a"))
    cache.put(_key("d"), (FOUND, b"x" * 10), now, 10 + OVERHEAD)
    assert _cached(cache, "abcd") == "acd"
    # in its own place, and larger by one
    cache.put(_key("d"), (FOUND, b"x" * 11), now, 11 + OVERHEAD)
    assert _cached(cache, "acd") == "cd"
    cache.put(_key("e"), (FOUND, b"x" * 9999), now, 9999 + OVERHEAD)
    assert _cached(cache, "acde") == ""
    for name in "abc":
        cache.put(_key(name), (FOUND, b"x" * 10), now, 10 + OVERHEAD)
    assert _cached(cache, "abc") == "abc"


def test_a_cached_file_s_age_starts_at_its_check() -> None:
    cache: Recent[Any, Any] = Recent(CAPACITY)
    cache.put(_key("a"), (FOUND, b"x"), time.monotonic() - 2, 1 + OVERHEAD)
    assert _cached(cache, "a") == ""
    assert cache.latest(_key("a")) == (FOUND, b"x")


def test_the_number_of_cached_empty_files_is_bounded(stays_fresh: None) -> None:
    cache: Recent[Any, Any] = Recent(10 * OVERHEAD)
    for number in range(100):
        cache.put(_key(str(number)), (FOUND, b""), time.monotonic(), OVERHEAD)
    assert sum(cache.fresh(_key(str(number))) is not None for number in range(100)) == 10


def test_threads_may_share_the_cache(site: Path, stays_fresh: None) -> None:
    cache: Recent[Any, Any] = Recent(20 * (10 + OVERHEAD))

    def use(number: int) -> None:
        name = str(number % 50)
        if cache.fresh(_key(name)) is None and cache.latest(_key(name)) is None:
            cache.put(_key(name), (FOUND, b"x" * 10), time.monotonic(), 10 + OVERHEAD)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(use, range(5000)))
    assert sum(cache.fresh(_key(str(number))) is not None for number in range(50)) == 20


@pytest.mark.processes
def test_R70_a_forked_child_has_its_own_cache(site: Path) -> None:
    ask = _asking(Files(site, cached=True))
    assert ask() == SMALL
    with CONTENTS._lock:  # as another thread of the parent may hold it
        child = os.fork()
        if child == 0:
            (site / "a.txt").write_bytes(b"the child's")
            os._exit(0 if ask() == b"the child's" else 1)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0


# -- files that were looked at a moment ago --------------------------------------------------------


@pytest.fixture
def threads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """An entry for each time that a thread was asked to look at a file; looks on the event loop
    count as fast.
    """
    asked: list[str] = []
    find_and_open = static._find_and_open

    def noted(request: Any, response: Any, headers: Any, key: Key) -> Any:
        asked.append(key[1])
        return find_and_open(request, response, headers, key)

    monkeypatch.setattr(static, "_find_and_open", noted)
    monkeypatch.setattr(recent, "SLOW", 60.0)
    monkeypatch.setattr(recent, "FRESH_FOR", 60.0)
    RECENT.clear()
    return asked


def _looks_after(
    app: App, backend: str, *steps: tuple[Callable[[], object], str, dict[str, str]]
) -> list[Any]:
    """Return the status and the body of each request; before it, its function is called."""

    async def all_steps() -> list[Any]:
        answers = []
        for change, path, headers in steps:
            change()
            pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
            answer = await asgi.get(app, path, headers=pairs)
            answers.append((answer.status, answer.body))
        return answers

    return asgi.run(backend, all_steps)


def _nothing() -> None:
    pass


def test_a_frequently_requested_file_needs_no_thread_and_is_never_stale(
    site: Path, backend: str, threads: list[str]
) -> None:
    path = "/static/a.txt"
    answers = _looks_after(
        Files(site),
        backend,
        (_nothing, path, {}),
        (_nothing, path, {}),
        (_nothing, path, {"if-none-match": "*"}),
        # other bytes: a thread reads them first
        (lambda: (site / "a.txt").write_bytes(b"changed"), path, {}),
        (_nothing, path, {}),
        ((site / "a.txt").unlink, path, {}),
        (_nothing, path, {}),
        (lambda: (site / "a.txt").symlink_to("/etc/passwd"), path, {}),
    )
    missing = (404, b"404 Not Found")
    assert answers == [
        *[(200, SMALL), (200, SMALL), (304, b""), (200, b"changed"), (200, b"changed")],
        *[missing, missing, missing],
    ]
    assert threads == ["a.txt", "a.txt"]


def test_a_constantly_requested_file_needs_one_thread(
    site: Path, backend: str, threads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, later = time.monotonic, [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock() + later[0])

    def wait() -> None:
        later[0] += 0.8 * recent.FRESH_FOR

    found = _looks_after(Files(site), backend, *[(wait, "/static/a.txt", {})] * 4)
    assert found == [(200, SMALL)] * 4
    assert threads == ["a.txt"]


def test_a_file_that_is_only_checked_is_not_read(
    site: Path, backend: str, threads: list[str]
) -> None:
    path = "/static/a.txt"
    known = {"if-none-match": "*"}
    answers = _looks_after(
        Files(site), backend, (_nothing, path, known), (_nothing, path, known), (_nothing, path, {})
    )
    assert [status for status, _ in answers] == [304, 304, 200]
    assert threads == ["a.txt", "a.txt"]


@pytest.mark.parametrize(
    ("name", "status", "asked"),
    [
        ("long.txt", 200, 1),
        ("longer.txt", 200, 2),
        ("x" * recent.LONGEST_PATH, 404, 1),
        ("x" * recent.LONGEST_PATH + "x", 404, 2),
    ],
    ids=["largest", "too large", "longest", "too long"],
)
def test_large_files_and_long_paths_use_threads(
    site: Path, backend: str, threads: list[str], name: str, status: int, asked: int
) -> None:
    for number, file in enumerate(("long.txt", "longer.txt")):
        (site / file).write_bytes(b"x" * (recent.LARGEST_LOOK + number))
    answers = _looks_after(Files(site), backend, *[(_nothing, f"/static/{name}", {})] * 2)
    assert [found for found, _ in answers] == [status] * 2
    assert threads == [name] * asked


def test_a_slow_directory_uses_threads(
    site: Path, backend: str, threads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recent, "SLOW", 0.0)
    path = "/static/a.txt"
    answers = _looks_after(Files(site), backend, *[(_nothing, path, {})] * 6)
    assert answers == [(200, SMALL)] * 6
    assert threads == ["a.txt"] * 3  # the first, and all after three slow ones in a row


def test_file_checks_are_reused_for_a_second_and_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    looks = RecentLooks(recent.MOST_LOOKS)
    looks.put(_key("a"), FOUND, now[0])
    assert looks.may_look(_key("a"))
    assert looks.latest(_key("a")) == FOUND
    now[0] += 1.1
    assert not looks.may_look(_key("a"))
    for number in range(recent.MOST_LOOKS):
        looks.put(_key(str(number)), None, now[0])
    assert looks.latest(_key("a")) is None
    assert looks.may_look(_key("0"))


def test_a_fast_file_check_ends_a_series_of_slow_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "monotonic", lambda: 1000.0)
    looks, key = RecentLooks(recent.MOST_LOOKS), _key("a")
    for seconds in (1.0, 1.0, 0.0, 1.0, 1.0):
        looks.record_look(key, None, 1000.0 - seconds)
        assert looks.may_look(key)
    looks.record_look(key, None, 999.0)
    assert not looks.may_look(key)


def test_a_link_to_a_compressed_file_is_followed_if_links_are(
    make_client: MakeClient, site: Path
) -> None:
    (site.parent / "packed").write_bytes(gzip.compress(b"packed"))
    (site / "a.txt.gz").symlink_to("../packed")
    answer = make_client(Files(site, follow_symlinks=True)).get(
        "/file/a.txt", headers={"Accept-Encoding": "gzip"}
    )
    assert answer.headers["content-encoding"] == "gzip"


@pytest.mark.skipif(os.name == "nt", reason="a name with a colon is a stream there")
def test_a_colon_that_follows_no_letter_is_part_of_a_name(
    make_client: MakeClient, site: Path
) -> None:
    (site / "1:2.txt").write_bytes(b"colon")
    assert make_client(Files(site)).get("/static/1:2.txt").content == b"colon"


def test_modification_times_are_compared_in_seconds(make_client: MakeClient, site: Path) -> None:
    nanoseconds = MODIFIED * 10**9 + 700_000_000
    os.utime(site / "a.txt", ns=(nanoseconds, nanoseconds))
    client = make_client(Files(site))
    seen = client.get("/static/a.txt").headers["last-modified"]
    assert client.get("/static/a.txt", headers={"If-Modified-Since": seen}).status_code == 304


def test_R36_a_link_is_detected_in_each_part_of_a_path(
    make_client: MakeClient, site: Path, cached: bool
) -> None:
    (site / "deep" / "deeper").mkdir(parents=True)
    (site / "deep" / "deeper" / "a.txt").write_bytes(b"deep")
    (site / "inside").symlink_to("deep")
    (site.parent / "deeper").mkdir()
    (site.parent / "deeper" / "a.txt").write_bytes(b"outside")
    (site / "outside").symlink_to("..")
    client = make_client(Files(site, cached=cached))
    assert client.get("/static/inside/deeper/a.txt").content == b"deep"
    assert client.get("/static/outside/deeper/a.txt").status_code == 404


def test_an_outdated_compressed_file_never_hides_others(
    make_client: MakeClient, site: Path
) -> None:
    for suffix in (".zst", ".br"):
        (site / f"a.txt{suffix}").write_bytes(b"of an older version")
        os.utime(site / f"a.txt{suffix}", (1, 1))
    (site / "a.txt.gz").write_bytes(gzip.compress(b"packed"))
    answer = make_client(Files(site)).get(
        "/static/a.txt", headers={"Accept-Encoding": "br, gzip, zstd"}
    )
    assert (answer.content, answer.headers["content-encoding"]) == (b"packed", "gzip")


def test_zstd_files_are_sent_to_clients_that_prefer_them(
    make_client: MakeClient, site: Path
) -> None:
    (site / "a.txt").write_bytes(b"plain")
    os.utime(site / "a.txt", (1e9, 1e9))
    (site / "a.txt.zst").write_bytes(b"zstd")
    (site / "a.txt.gz").write_bytes(b"gzip")
    client = make_client(Files(site))
    for encoding, content in (
        ("gzip, br, zstd", b"zstd"),
        ("gzip, zstd;q=0.5", b"gzip"),
        ("br", b"plain"),
    ):
        headers = {"Accept-Encoding": encoding}
        with client.stream("GET", "/static/a.txt", headers=headers) as answer:
            assert b"".join(answer.iter_raw()) == content
        assert answer.headers["vary"] == "Accept-Encoding"


def test_a_file_whose_bytes_come_in_small_pieces_is_sent_whole(
    make_client: MakeClient, site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (site / "pieces.txt").write_bytes(bytes(range(64)))
    read = os.read
    monkeypatch.setattr(os, "read", lambda descriptor, size: read(descriptor, min(size, 3)))
    client = make_client(Files(site))
    assert client.get("/static/pieces.txt").content == bytes(range(64))
    part = client.get("/static/pieces.txt", headers={"Range": "bytes=0-9"})
    assert (part.status_code, part.content) == (206, bytes(range(10)))


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.apk", "application/vnd.android.package-archive"),
        ("a.xhtml", "application/xhtml+xml"),
        ("a.rss", "application/rss+xml"),
        ("a.epub", "application/epub+zip"),
        ("a.own", "application/x-own"),
        ("a.OWN", "application/x-own"),
        ("a.inner", "text/x-inner; charset=utf-8"),
        ("a.png", "image/png"),
        ("a.unknown", "application/octet-stream"),
    ],
)
def test_content_types_can_be_added(
    make_client: MakeClient, tmp_path: Path, name: str, kind: str
) -> None:
    (tmp_path / name).write_text("x")
    app: Any = App(file_types={".own": "application/x-own", ".png": "image/x-never"})
    app.inner = App(file_types={".inner": "text/x-inner; charset=utf-8"})
    app.inner.static("/s", tmp_path)
    assert make_client(app).get(f"/inner/s/{name}").headers["content-type"] == kind


@pytest.mark.parametrize("types", [{"own": "a/b"}, {".Own": "a/b"}, {".own": "ab"}, {".own": 1}])
def test_impossible_content_types_are_refused(types: Any) -> None:
    with pytest.raises(SetupError, match="file_types"):
        App(file_types=types)
