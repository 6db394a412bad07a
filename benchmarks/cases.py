"""The requests that every contender answers, as data, with the right answer to each.

To compare contenders, read their applications and this file. A new column in the report is a new row here, and a new
handler in every file of `benchmarks/apps/` that is in its table.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

CHUNK_COUNT = 50
CHUNK = b"All work and no play makes Jack a dull boy, said the stream.\r\n"

TEXT, JSON, STREAM = "text", "json", "stream"


@dataclass(frozen=True)
class Case:
    """One kind of request. `kind` says how the answer's body is compared, `want` with what."""

    name: str
    title: str
    method: str
    path: str
    want: Any
    kind: str = TEXT
    query: str = ""
    body: bytes = b""
    content_type: str = ""
    # A stream costs as much as dozens of plain requests, so it gets a smaller batch.
    batch_divisor: int = 1
    # The path that is asked once, before the measurement, for the cookie of these requests.
    sign_in: str = ""
    cookie: str = ""

    def batch_size(self, batch: int) -> int:
        return max(1, batch // self.batch_divisor)


@dataclass(frozen=True)
class Answer:
    """A contender's answer: the header names in lower case, the body in the pieces in which it came."""

    status: int
    headers: dict[str, str]
    pieces: tuple[bytes, ...]

    @property
    def body(self) -> bytes:
        return b"".join(self.pieces)


HELLO = "Hello, World!"
PERSON = {"name": "Alice", "age": 42}
FORM = "application/x-www-form-urlencoded"

CASES = (
    Case("plain", "plain text", "GET", "/plain", HELLO.encode()),
    Case("json", "JSON", "GET", "/json", {"message": HELLO}, JSON),
    Case("path", "path parameter", "GET", "/greet/Alice", b"Hello Alice"),
    Case("query", "query parameter", "GET", "/query", b"Hello Alice", query="name=Alice"),
    Case("form", "urlencoded form", "POST", "/form", b"Alice from Paris", body=b"name=Alice&city=Paris",
         content_type=FORM),
    Case("submit", "JSON body", "POST", "/submit", PERSON, JSON, body=json.dumps(PERSON).encode(),
         content_type="application/json"),
    Case("stream", f"stream of {CHUNK_COUNT}", "GET", "/stream", CHUNK * CHUNK_COUNT, STREAM,
         batch_divisor=10),
)  # fmt: skip

BY_NAME = {case.name: case for case in CASES}

SESSION_CASES = (
    BY_NAME["plain"],
    Case("session", "session read", "GET", "/session", b"Alice", sign_in="/login"),
    # "2", because the request for the cookie was the first. So a contender that stores nothing fails the check.
    Case("count", "session read, changed, saved", "GET", "/count", b"2", sign_in="/count", batch_divisor=4),
)

BOUNDARY = "----WebKitFormBoundary7MA4YWxkTrZu0gW"
MULTIPART = f"multipart/form-data; boundary={BOUNDARY}"
PART = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="'
FILE_TYPE = "application/octet-stream"


def _multipart(size: int) -> bytes:
    """Return two fields and a file of `size` bytes, as a browser sends them. The file has line ends, as images do."""
    fields = f'{PART}name"\r\n\r\nAlice\r\n{PART}city"\r\n\r\nParis\r\n'
    head = f'{PART}file"; filename="photo.jpg"\r\nContent-Type: {FILE_TYPE}\r\n\r\n'
    content = (bytes(range(256)) * (size // 256 + 1))[:size]
    return (fields + head).encode() + content + f"\r\n--{BOUNDARY}--\r\n".encode()


def _upload(name: str, title: str, size: int, batch_divisor: int) -> Case:
    want = f"Alice from Paris sent {size} bytes".encode()
    return Case(name, title, "POST", "/upload", want, body=_multipart(size), content_type=MULTIPART,
                batch_divisor=batch_divisor)  # fmt: skip


UPLOAD_CASES = (
    _upload("multipart", "two fields, a file of 10 KiB", 10 * 1024, 4),
    _upload("upload", "a file of 1 MiB", 1024 * 1024, 20),
)


def complaint(case: Case, answer: Answer, *, whole_chunks: bool = True) -> str | None:
    """Return why this answer is wrong, or None. A benchmark that measures a 404 is worth nothing.

    `whole_chunks`: every chunk of a stream has to arrive as a separate piece. This is not required of a bridge between
    threads, which may join chunks that are ready together.
    """
    if answer.status != 200:
        return f"status {answer.status}: {answer.body[:200]!r}"
    if "content-type" not in answer.headers:
        return "no Content-Type"
    if case.kind == STREAM:
        return _stream_complaint(case, answer, whole_chunks)
    if answer.headers.get("content-length") != str(len(answer.body)):
        return f"Content-Length {answer.headers.get('content-length')!r} for {len(answer.body)} bytes"
    return _body_complaint(case, answer.body)


def _body_complaint(case: Case, body: bytes) -> str | None:
    try:
        got = json.loads(body) if case.kind == JSON else body
    except ValueError:
        return f"not JSON: {body[:200]!r}"
    return None if got == case.want else f"{body[:200]!r} instead of {case.want!r}"


def _stream_complaint(case: Case, answer: Answer, whole_chunks: bool) -> str | None:
    if answer.body != case.want:
        return f"a stream of {len(answer.body)} bytes instead of {len(case.want)}"
    pieces = [piece for piece in answer.pieces if piece]
    if whole_chunks and len(pieces) != CHUNK_COUNT:
        return f"{len(pieces)} pieces instead of {CHUNK_COUNT}"
    return None
