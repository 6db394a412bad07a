"""Multipart forms as bytes, with the boundary B."""

from __future__ import annotations

from collections.abc import Iterator

HEADERS = {"Content-Type": "multipart/form-data; boundary=B"}
PAIRS = [(b"content-type", b"multipart/form-data; boundary=B")]


def section(parameters: str, body: bytes = b"", *headers: str) -> bytes:
    """One part; `parameters` are those of its disposition: `name="a"; filename="a.txt"`."""
    lines = "".join(
        f"{line}\r\n" for line in (f"Content-Disposition: form-data; {parameters}", *headers)
    )
    return b"--B\r\n" + lines.encode() + b"\r\n" + body + b"\r\n"


def form(*sections: bytes) -> bytes:
    return b"".join(sections) + b"--B--\r\n"


def in_pieces(body: bytes, size: int) -> Iterator[bytes]:
    return (body[start : start + size] for start in range(0, len(body), size))
