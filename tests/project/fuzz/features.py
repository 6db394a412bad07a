"""Targets for what stands around requests: flashed messages, traces, OpenAPI's paths, the file
``.env``.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import chdir, contextmanager, redirect_stderr, suppress
from functools import cache
from io import StringIO
from pathlib import Path
from typing import Any

from opentelemetry.sdk.trace import TracerProvider

from micropie import App, SetupError, flash, get_flashed_messages, run_in
from micropie.cli import main
from micropie.cli.target import CommandError
from micropie.middleware import RequestId, Tracing
from micropie.sessions import SignedCookieSessionBackend
from tests.project.fuzz.exchanges import ask_both, lines_of
from tests.project.fuzz.parsers import fields_of, latin

# -- flashed messages ------------------------------------------------------------------------------


class Notes(App):
    @run_in("loop")
    def add(self, text: str, category: str = "message") -> str:
        flash(text, category)
        return "added"

    @run_in("loop")
    def shown(self) -> Any:
        return get_flashed_messages(with_categories=True)


@cache
def _notes() -> App:
    return Notes(session_backend=SignedCookieSessionBackend("k" * 32), security=False)


def flashes(data: bytes) -> None:
    """A message comes back as it was, in a cookie that nobody else could write."""
    raw_text, raw_category, place = fields_of(data, 3)
    query = b"text=" + b"".join(b"%%%02X" % byte for byte in raw_text)
    query += b"&category=" + b"".join(b"%%%02X" % byte for byte in raw_category)
    for answer in ask_both(_notes(), "GET", b"/add?" + query, [], b""):
        cookies = [value.partition(";")[0] for name, value in answer[1] if name == "set-cookie"]
        if answer[0] == 200 and cookies:
            given = [[raw_category.decode(), raw_text.decode()]]
            for shown in ask_both(
                _notes(), "GET", b"/shown", [(b"cookie", cookies[0].encode())], b""
            ):
                assert json.loads(shown[2]) == given
            position = (
                cookies[0].index("=")
                + 1
                + int.from_bytes(place[:2], "big") % len(cookies[0].split("=", 1)[1])
            )
            other = "A" if cookies[0][position] != "A" else "B"
            forged = cookies[0][:position] + other + cookies[0][position + 1 :]
            for shown in ask_both(_notes(), "GET", b"/shown", [(b"cookie", forged.encode())], b""):
                assert json.loads(shown[2]) == []
        else:  # no text, too long for a cookie
            assert answer[0] in (400, 500), answer
            assert answer[0] == 400 or len(raw_text) + len(raw_category) > 300


# -- traces ----------------------------------------------------------------------------------------


class Traced(App):
    @run_in("loop")
    def index(self) -> str:
        return "page"


@cache
def _traced() -> App:
    app = Traced(security=False)
    app.middlewares += [RequestId(trust=True), Tracing(TracerProvider(), query=True)]
    return app


def trace_headers(data: bytes) -> None:
    """Whatever a trace's headers say, the request is answered; an id that is sent back is a plain
    one.
    """
    method, query, head = fields_of(data, 3)
    target = b"/?" + re.sub(rb"[\x00-\x20\x7f#]", b"", query)
    lines = lines_of(head)
    for status, headers, _ in ask_both(_traced(), "POST" if method else "GET", target, lines, b""):
        assert status == 200 or (method and status == 400)  # of a malformed Content-Type
        assert re.fullmatch(r"[A-Za-z0-9._-]{1,128}", dict(headers)["x-request-id"])


# -- OpenAPI ---------------------------------------------------------------------------------------


def openapi_paths(data: bytes) -> None:
    """Each wildcard of a route is a parameter in the document, and each parameter in the path is
    described.
    """
    app = App(security=False)
    for raw in fields_of(data, 3):
        text = raw.decode("utf-8", "replace")
        names = re.findall(r"<(\w+)", text)
        handler = _handler_of(
            [name for name in dict.fromkeys(names) if name.isidentifier() and name.isascii()]
        )
        with suppress(SetupError):
            app.get(text)(handler)
    try:
        document = app.openapi()
    except SetupError:  # two routes of one path
        return
    json.dumps(document)
    for path, operations in document["paths"].items():
        assert path.startswith("/")
        for operation in operations.values():
            described = {
                one["name"] for one in operation.get("parameters", ()) if one["in"] == "path"
            }
            assert described == {*re.findall(r"\{(\w+)\}", path)}, (path, operation)
    operations = [one for path in document["paths"].values() for one in path.values()]
    assert len({one["operationId"] for one in operations}) == len(operations)


def _handler_of(names: list[str]) -> Any:
    def handler(**values: str) -> str:
        return repr(values)

    handler.__name__ = "_".join(["show", *names])
    return handler


# -- the command line ------------------------------------------------------------------------------


@contextmanager
def _environment() -> Iterator[None]:
    before = dict(os.environ)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def env_file(data: bytes) -> None:
    """A file ``.env`` is read, or refused in one sentence, and so is what it says of the
    options.
    """
    with (
        tempfile.TemporaryDirectory() as folder,
        chdir(folder),
        _environment(),
        redirect_stderr(StringIO()),
    ):
        Path(".env").write_bytes(data)
        with suppress(CommandError, SetupError):
            main._read_env_file()
            for number, name in enumerate(
                ("MICROPIE_HOST", "MICROPIE_PORT", "MICROPIE_LOOP", "MICROPIE_RELOAD")
            ):
                value = latin(data).replace("\0", "").split("\n")[number : number + 1]
                os.environ[name] = "".join(value)
            with suppress(SystemExit):
                parsed = main.parsers(main.split([])[0])[""].parse_args(["run"])
                assert parsed.host == (os.environ["MICROPIE_HOST"] or None)
