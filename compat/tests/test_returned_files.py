"""Handlers that return file-like objects: the original frameworks and ours, in each world."""

from __future__ import annotations

import codecs
import gzip
import io
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from itertools import chain
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

import pytest

from compat.tests.conftest import Serve
from micropie_compat import bottle as our_bottle
from micropie_compat import cherrypy as ours
from tests.support.clients import MakeClient

TEXT = "Grüße\n" * 20_000  # longer than one piece
DATA = TEXT.encode()

Make = Callable[[str], Any]


class Reads:
    """An object with ``read`` and nothing else."""

    def __init__(self, file: Any) -> None:
        self.file = file

    def read(self, size: int) -> Any:
        return self.file.read(size)


class Closes(Reads):
    """Counts how often it is closed."""

    closed = 0

    def close(self) -> None:
        self.closed += 1


class ClosesAndIterates(Closes):
    """Its iterator would use it up."""

    def __iter__(self) -> Iterator[Any]:
        return iter([self.file.read()])


class ReadsAndIterates(Reads):
    """Bottle iterates over it, since it has no ``close``."""

    def __iter__(self) -> Iterator[str]:
        return iter(self.file)


class Page:
    """An iterable of text that is no iterator."""

    def __iter__(self) -> Iterator[Any]:
        return iter([TEXT, b""])


class Lines:
    """An iterable of the old kind."""

    def __getitem__(self, index: int) -> Any:
        return [TEXT, b""][index]


def temporary() -> Any:
    file = NamedTemporaryFile("w+", encoding="utf-8", newline="")  # noqa: SIM115 - see ``make``
    file.write(TEXT)
    file.seek(0)
    return file


TEXT_FILES: dict[str, Callable[[Path], Any]] = {
    "open": lambda path: path.open(encoding="utf-8", newline=""),
    "codecs": lambda path: codecs.open(str(path), encoding="utf-8"),  # noqa: SIM115 - see ``make``
    "temporary": lambda path: temporary(),
    "wrapper": lambda path: io.TextIOWrapper(
        gzip.GzipFile(fileobj=io.BytesIO(gzip.compress(DATA))), "utf-8", newline=""
    ),
    "memory": lambda path: io.StringIO(TEXT, newline=""),
    "read": lambda path: Reads(io.StringIO(TEXT)),
    "close": lambda path: Closes(io.StringIO(TEXT)),
    "both": lambda path: ClosesAndIterates(io.StringIO(TEXT)),
}
ITERABLES: dict[str, Callable[[Path], Any]] = {
    "iterable": lambda path: Page(),
    "index": lambda path: Lines(),
    "set": lambda path: {TEXT},
    "generator": lambda path: (line for line in [TEXT, b""]),
}
BINARY_FILES: dict[str, Callable[[Path], Any]] = {
    "open binary": lambda path: path.open("rb"),
    "memory binary": lambda path: io.BytesIO(DATA),
    "read binary": lambda path: Reads(io.BytesIO(DATA)),
    "close binary": lambda path: Closes(io.BytesIO(DATA)),
}
OTHERS: dict[str, Callable[[Path], Any]] = {
    "text": lambda path: TEXT,
    "empty": lambda path: io.StringIO(),
    "read and iterate": lambda path: ReadsAndIterates(io.StringIO(TEXT)),
}

LATIN_1: dict[str, object] = {"tools.encode.on": True, "tools.encode.encoding": "latin-1"}
TOOLS: dict[str, tuple[dict[str, object], str]] = {
    "default": ({}, "utf-8"),
    "latin-1": (LATIN_1, "latin-1"),
    "gzip": ({"tools.gzip.on": True}, "utf-8"),
    "both": ({"tools.gzip.on": True, **LATIN_1}, "latin-1"),
}

both_ways = pytest.mark.parametrize("stream", [False, True], ids=["buffered", "streamed"])


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """Return a function that makes a file or an iterable of one of the kinds above."""
    made: list[Any] = []
    path = tmp_path / "page.txt"
    path.write_bytes(DATA)

    def make(kind: str) -> Any:
        made.append({**TEXT_FILES, **ITERABLES, **BINARY_FILES, **OTHERS}[kind](path))
        return made[-1]

    yield make
    for file in made:  # the original leaves some open
        getattr(file, "close", str)()


def site(cherrypy: Any, page: Callable[[], Any], **config: object) -> Any:
    """Return an application of one page."""

    class Root:
        @cherrypy.expose
        def index(self, **headers: str) -> Any:
            for name, value in headers.items():
                cherrypy.response.headers[name.replace("_", "-")] = value
            return page()

    return cherrypy.Application(Root(), "", {"/": config})


@both_ways
@pytest.mark.parametrize("tools", TOOLS)
@pytest.mark.parametrize("kind", [*TEXT_FILES, *ITERABLES])
def test_cherrypy_encodes_open_text_files(
    cherrypy: Any, serve: Serve, make: Make, kind: str, tools: str, stream: bool
) -> None:
    config, encoding = TOOLS[tools]
    app = site(cherrypy, lambda: make(kind), **config, **{"response.stream": stream})
    client = serve(app)
    for headers in ({}, {"Range": "bytes=1-2"}):
        answer = client.get("/", headers=headers)
        assert (answer.status_code, answer.content) == (200, TEXT.encode(encoding))
        assert answer.headers["Content-Type"] == f"text/html;charset={encoding}"
        packed = "gzip" if tools in ("gzip", "both") else None
        assert answer.headers.get("Content-Encoding") == packed
    head = client.head("/")
    assert (head.status_code, head.content) == (200, b"")
    if not stream:
        assert head.headers["Content-Length"] == answer.headers["Content-Length"]


@pytest.mark.parametrize(
    "config", [{}, {"tools.encode.on": False}, {"response.stream": True}], ids=["", "off", "stream"]
)
@pytest.mark.parametrize("kind", BINARY_FILES)
def test_cherrypy_sends_bytes_unchanged(
    cherrypy: Any, serve: Serve, make: Make, kind: str, config: dict[str, object]
) -> None:
    client = serve(site(cherrypy, lambda: make(kind), **config))
    for media_type in ("text/html", "application/octet-stream"):
        assert client.get("/", params={"Content_Type": media_type}).content == DATA


@both_ways
@pytest.mark.parametrize("compressed", [False, True], ids=["plain", "gzip"])
@pytest.mark.parametrize("kind", TEXT_FILES)
def test_a_text_file_needs_no_encode_tool_in_the_compatibility_module(
    serve_ours: Serve, make: Make, kind: str, compressed: bool, stream: bool
) -> None:
    """The tool may be off, and by default it encodes no other types than ``text/*``."""
    config: dict[str, object] = {"tools.gzip.on": compressed, "response.stream": stream}
    off = serve_ours(site(ours, lambda: make(kind), **config, **{"tools.encode.on": False}))
    assert off.get("/").content == DATA
    other = serve_ours(site(ours, lambda: make(kind), **config))
    answer = other.get("/", params={"Content_Type": "application/json"})
    assert (answer.status_code, answer.content) == (200, DATA)


def test_cherrypy_needs_the_encode_tool_for_other_text(
    cherrypy: Any, serve: Serve, make: Make
) -> None:
    for kind in ("text", "generator"):
        client = serve(site(cherrypy, partial(make, kind), **{"tools.encode.on": False}))
        assert client.get("/").status_code == 500


@pytest.mark.parametrize("kind", ["open", "generator", "text"])
def test_a_content_length_in_characters_is_replaced(
    cherrypy: Any, serve: Serve, make: Make, kind: str
) -> None:
    client = serve(site(cherrypy, lambda: make(kind)))
    answer = client.get("/", params={"Content_Length": str(len(TEXT))})
    assert answer.content == DATA
    assert answer.headers["Content-Length"] == str(len(DATA))


def test_text_outside_the_charset_gets_an_error(cherrypy: Any, serve: Serve) -> None:
    client = serve(site(cherrypy, lambda: io.StringIO("€"), **LATIN_1))
    assert client.get("/").status_code == 406


@both_ways
@pytest.mark.parametrize("text", [TEXT, "€", ""], ids=["long", "not encodable", "empty"])
@pytest.mark.parametrize("tools", TOOLS)
@pytest.mark.parametrize("kind", [Closes, ClosesAndIterates])
def test_a_file_is_closed_once(
    serve_ours: Serve, kind: type[Closes], tools: str, text: str, stream: bool
) -> None:
    made: list[Closes] = []

    def page() -> Closes:
        made.append(kind(io.StringIO(text)))
        return made[-1]

    client = serve_ours(site(ours, page, **TOOLS[tools][0], **{"response.stream": stream}))
    client.get("/")
    client.head("/")
    assert [file.closed for file in made] == [1, 1]


@both_ways
@pytest.mark.parametrize("tool", ["encode", "flatten", "gzip", "caching", "sessions"])
def test_an_iterator_is_closed_once(
    serve_ours: Serve, monkeypatch: pytest.MonkeyPatch, tool: str, stream: bool
) -> None:
    """For HEAD, a tool's generator never begins, so it can't close what it reads."""
    closed: list[str] = []

    class Numbers:
        def __init__(self) -> None:
            self.left = iter("12")

        def __iter__(self) -> Iterator[str]:
            return self.left

        def close(self) -> None:
            closed.append("closed")

    monkeypatch.setattr(ours, "_cache", None, raising=False)
    config = {f"tools.{tool}.on": True, "response.stream": stream}
    client = serve_ours(site(ours, Numbers, **config))
    for number, ask in enumerate((client.head, client.get), 1):
        assert ask("/").status_code == 200
        assert closed == ["closed"] * number


@both_ways
def test_a_file_is_closed_if_an_error_replaces_it(serve_ours: Serve, stream: bool) -> None:
    file = Closes(io.StringIO(TEXT))

    def refuse() -> None:
        if ours.response.status is None:
            raise ours.HTTPError(403)

    config = {"hooks.before_finalize": refuse, "response.stream": stream}
    assert serve_ours(site(ours, lambda: file, **config)).get("/").status_code == 403
    assert file.closed == 1


def test_a_failing_iterable_is_closed(serve_ours: Serve) -> None:
    closed: list[str] = []

    class Numbers:
        def __iter__(self) -> Iterator[int]:
            return iter([1])

        def close(self) -> None:
            closed.append("closed")

    assert serve_ours(site(ours, Numbers)).get("/").status_code == 500
    assert closed == ["closed"]


def test_an_async_handler_may_return_a_text_file(serve_ours: Serve, make: Make) -> None:
    class Root:
        @ours.expose
        async def index(self) -> Any:
            return make("open")

    assert serve_ours(ours.Application(Root())).get("/").content == DATA


@pytest.mark.parametrize("kind", TEXT_FILES)
def test_cherrypy_sends_open_text_files(cherrypy: Any, serve: Serve, make: Make, kind: str) -> None:
    serve_fileobj = cherrypy.lib.static.serve_fileobj
    answer = serve(site(cherrypy, lambda: serve_fileobj(make(kind), "text/plain"))).get("/")
    assert (answer.status_code, answer.content) == (200, DATA)
    assert answer.headers["Content-Type"] == "text/plain;charset=utf-8"


def test_a_range_of_an_open_file_is_sent(cherrypy: Any, serve: Serve, make: Make) -> None:
    def page(kind: str) -> Any:
        return cherrypy.lib.static.serve_fileobj(make(kind), "text/plain")

    for kind, part in (("open binary", DATA[:3]), ("open", TEXT[:3].encode())):
        client = serve(site(cherrypy, partial(page, kind)))
        answer = client.get("/", headers={"Range": "bytes=0-2"})
        assert (answer.status_code, answer.content) == (206, part)


@pytest.mark.parametrize("is_open", [False, True], ids=["path", "open"])
def test_a_hook_may_alter_files(cherrypy: Any, serve: Serve, tmp_path: Path, is_open: bool) -> None:
    """The tool ``encode`` has removed the length, so hooks needn't."""
    path, static = tmp_path / "page.txt", cherrypy.lib.static
    path.write_bytes(DATA * 2)  # too long to be read at once

    def page() -> Any:
        return static.serve_fileobj(path.open("rb")) if is_open else static.serve_file(str(path))

    def add_line() -> None:
        cherrypy.response.body = chain(cherrypy.response.body, [b"pie"])

    answer = serve(site(cherrypy, page, **{"hooks.before_finalize": add_line})).get("/")
    assert answer.content == DATA * 2 + b"pie"
    assert answer.headers["Content-Length"] == str(len(answer.content))
    unchanged = serve(site(cherrypy, page)).get("/")
    assert unchanged.headers["Content-Length"] == str(len(DATA * 2))


def test_a_hook_may_close_a_served_file(cherrypy: Any, serve: Serve, tmp_path: Path) -> None:
    path = tmp_path / "page.txt"
    path.write_bytes(DATA)

    def page() -> Any:
        file = path.open("rb")
        cherrypy.serving.request.hooks.attach("on_end_resource", file.close)
        return cherrypy.lib.static.serve_fileobj(file, "text/plain")

    answer = serve(site(cherrypy, page)).get("/")
    assert (answer.status_code, answer.content) == (200, DATA)


def test_an_open_file_is_closed_once(serve_ours: Serve, make: Make) -> None:
    made: list[Closes] = []

    class OnDisk(Closes):
        def fileno(self) -> int:
            number: int = self.file.fileno()
            return number

        def seek(self, position: int) -> None:
            self.file.seek(position)

    def page(kind: str) -> Any:
        made.append((OnDisk if kind == "open binary" else Closes)(make(kind)))
        return ours.lib.static.serve_fileobj(made[-1], "text/plain")

    for kind in ("open binary", "memory binary"):
        client = serve_ours(site(ours, partial(page, kind)))
        assert client.get("/").content == DATA
        client.get("/", headers={"Range": "bytes=0-1"})
    assert [file.closed for file in made] == [1] * 4


@pytest.mark.parametrize("piece", [bytearray(b"pie"), memoryview(b"pie")], ids=["array", "view"])
def test_chunks_may_be_any_kind_of_bytes(cherrypy: Any, serve: Serve, piece: Any) -> None:
    class File:
        read = staticmethod(partial(next, iter([piece, b"", piece, b""])))

    class Pie(bytes):
        """What some template engines return."""

    for page in (File, lambda: (each for each in [piece]), lambda: Pie(piece)):
        answer = serve(site(cherrypy, page)).get("/")
        assert (answer.status_code, answer.content) == (200, b"pie")


@pytest.mark.parametrize("is_file", [False, True], ids=["generator", "file"])
def test_headers_set_while_a_body_is_produced_are_sent(
    cherrypy: Any, serve: Serve, is_file: bool
) -> None:
    """The hooks see them, and the status is sent."""

    def lines() -> Iterator[str]:
        cherrypy.response.status = 404
        cherrypy.response.headers["X-Pie"] = "none"
        yield "Grüße"

    class File:
        def __init__(self) -> None:
            self.lines = lines()

        def read(self, size: int) -> str:
            return next(self.lines, "")

    def note() -> None:
        seen.append((cherrypy.response.status, cherrypy.response.headers["X-Pie"]))

    seen: list[tuple[object, str]] = []
    page = File if is_file else lines
    answer = serve(site(cherrypy, page, **{"hooks.before_finalize": note})).get("/")
    assert (answer.status_code, answer.text) == (404, "Grüße")
    assert answer.headers["X-Pie"] == "none"
    assert seen == [(404, "none")]


@pytest.mark.parametrize("kind", ["generator", "not encodable"])
def test_hooks_run_once_for_an_error_in_a_body(cherrypy: Any, serve: Serve, kind: str) -> None:
    def page() -> Any:
        if kind == "generator":
            yield "begun"
            raise cherrypy.HTTPError(406)
        yield "€"

    calls: list[str] = []
    config = {"hooks.before_finalize": lambda: calls.append("called"), **LATIN_1}
    assert serve(site(cherrypy, page, **config)).get("/").status_code == 406
    assert calls == ["called"]


@pytest.mark.parametrize("status", [404, "404 Not Found"], ids=str)
def test_a_status_set_too_late_has_no_effect(cherrypy: Any, serve: Serve, status: object) -> None:
    """``output_status`` can still be changed."""

    def change() -> None:
        cherrypy.response.status = status

    def pieces() -> Iterator[bytes]:
        change()
        yield b"pie"

    def choose() -> None:
        cherrypy.response.output_status = b"201 Created"

    app = site(cherrypy, lambda: "pie", **{"hooks.on_end_resource": choose})
    assert serve(app).get("/").status_code == 201
    for page, name, value in (
        (lambda: "pie", "hooks.on_end_resource", change),
        (pieces, "tools.encode.on", False),
    ):
        answer = serve(site(cherrypy, page, **{name: value})).get("/")
        assert (answer.status_code, answer.text) == (200, "pie")


def test_an_empty_file_is_not_compressed(cherrypy: Any, serve: Serve, make: Make) -> None:
    client = serve(site(cherrypy, lambda: make("empty"), **{"tools.gzip.on": True}))
    answer = client.get("/")
    assert "Content-Encoding" not in answer.headers
    assert answer.headers["Content-Length"] == "0"


@both_ways
@pytest.mark.parametrize("kind", ["open", "open binary", "latin-1", "gzip", "decoded", "memory"])
def test_file_like_objects_of_any_kind_are_sent(
    serve_ours: Serve, make: Make, tmp_path: Path, kind: str, stream: bool
) -> None:
    """The original counts the bytes on the disk, and sends no text under this media type."""
    # The part of the file on the disk is another one.
    headers = {"Range": "bytes=999999999-"} if kind == "gzip" else {}
    (tmp_path / "latin").write_text(TEXT, "latin-1", newline="")
    (tmp_path / "page.gz").write_bytes(gzip.compress(DATA))
    files: dict[str, Callable[[], Any]] = {
        "latin-1": lambda: (tmp_path / "latin").open(encoding="latin-1", newline=""),
        "gzip": lambda: gzip.GzipFile(tmp_path / "page.gz"),
        "decoded": lambda: codecs.getreader("utf-8")((tmp_path / "page.txt").open("rb")),
    }

    def page() -> Any:
        file = files[kind]() if kind in files else make(kind)
        file.read(2)
        return ours.lib.static.serve_fileobj(file, "application/octet-stream")

    for config in ({}, {"tools.encode.on": False}):
        client = serve_ours(site(ours, page, **config, **{"response.stream": stream}))
        answer = client.get("/", headers=headers)
        assert (answer.status_code, answer.content) == (200, DATA[2:])


@pytest.mark.parametrize("kind", ["both", "open binary", "memory"])
def test_an_error_page_may_be_a_file(serve_ours: Serve, make: Make, kind: str) -> None:
    """The original sends no text file, and no file without an iterator."""
    made: list[Any] = []

    def page(**values: str) -> Any:
        made.append(make(kind))
        return made[-1]

    def fail() -> None:
        raise ours.HTTPError(403)

    answer = serve_ours(site(ours, fail, **{"error_page.403": page})).get("/")
    assert (answer.status_code, answer.content) == (403, DATA)
    assert [int(file.closed) for file in made] == [1]


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1", "utf-16"])
@pytest.mark.parametrize("kind", TEXT_FILES)
def test_bottle_encodes_text_files_with_the_response_s_charset(
    make_client: MakeClient, make: Make, kind: str, encoding: str
) -> None:
    """The original fails for them."""
    app, made = our_bottle.Bottle(), []

    @app.get("/")
    def page() -> Any:
        our_bottle.response.content_type = f"text/plain; charset={encoding}"
        made.append(make(kind))
        return made[-1]

    client = make_client(app)
    assert client.get("/").content == TEXT.encode(encoding)
    assert client.head("/").content == b""
    assert {file.closed for file in made if isinstance(file, Closes)} <= {1}


@pytest.mark.parametrize(
    ("file", "charset", "content"),
    [
        (partial(io.StringIO, "パイ"), "iso-2022-jp", "パイ".encode("iso2022_jp")),
        (partial(io.BytesIO, DATA), "utf-16", DATA),
    ],
    ids=["text", "bytes"],
)
def test_an_encoder_s_final_bytes_only_follow_text(
    make_client: MakeClient, file: Callable[[], Any], charset: str, content: bytes
) -> None:
    app = our_bottle.Bottle()

    @app.get("/")
    def page() -> Any:
        our_bottle.response.content_type = f"text/plain; charset={charset}"
        return file()

    assert make_client(app).get("/").content == content


@pytest.mark.parametrize(
    ("kind", "content"),
    [
        ("open binary", DATA),
        ("memory binary", DATA),
        ("read binary", DATA),
        ("close binary", DATA),
        ("empty", b""),
        ("read and iterate", TEXT.encode("latin-1")),
    ],
)
def test_a_text_file_is_encoded_with_the_declared_charset(
    bottle: Any, connect: MakeClient, make: Make, kind: str, content: bytes
) -> None:
    app = bottle.Bottle()

    @app.get("/")
    def page() -> Any:
        bottle.response.content_type = "text/plain; charset=latin-1"
        return make(kind)

    assert connect(app, "wsgi", validate=False).get("/").content == content


@pytest.mark.parametrize("status", ["200 OK", "304 Not Modified"])
@pytest.mark.parametrize("chunks", [[], [b""]], ids=["none", "empty"])
def test_bottle_closes_a_body_without_bytes(
    make_client: MakeClient, status: str, chunks: list[bytes]
) -> None:
    """The mounted application may end its work in ``close`` (PEP 3333)."""
    closed: list[str] = []

    class Chunks:
        def __iter__(self) -> Iterator[bytes]:
            return iter(chunks)

        def close(self) -> None:
            closed.append("closed")

    def mounted(environ: dict[str, Any], start_response: Callable[..., object]) -> Chunks:
        start_response(status, [("Content-Type", "text/plain")])
        return Chunks()

    app = our_bottle.Bottle()
    app.mount("/mounted", mounted)
    app.get("/")(Chunks)
    client = make_client(app)
    for number, path in enumerate(("/mounted/", "/"), 1):
        for ask in (client.get, client.head):
            assert ask(path).content == b""
        assert closed == ["closed"] * 2 * number


def test_a_native_handler_may_return_a_text_file(make_client: MakeClient, make: Make) -> None:
    app = ours.Application(object())
    app.native.get("/")(lambda: make("open"))
    assert make_client(app).get("/").content == DATA


def test_a_compressed_stream_is_complete(cherrypy: Any, serve: Serve, make: Make) -> None:
    config = {"tools.gzip.on": True, "response.stream": True}
    client = serve(site(cherrypy, lambda: make("open"), **config))
    with client.stream("GET", "/", headers={"Accept-Encoding": "gzip"}) as answer:
        assert zlib.decompress(b"".join(answer.iter_raw()), wbits=31) == DATA
