"""Private functions and classes of Bottle that its own tests and a few programs use."""

from __future__ import annotations

import re
from collections.abc import Iterator
from io import BytesIO
from typing import IO, Any

from micropie_compat.addresses import ELEMENT, PARAMETER
from micropie_compat.bottle.forms import FileUpload, parse_multipart

__all__ = [
    "_MultipartParser",
    "_parse_http_header",
    "_re_flatten",
]

_GROUP = re.compile(r"(?<!\\)((?:\\\\)*)\((?:\?P<\w+>|(?!\?))")


def _parse_http_header(h: str) -> list[tuple[str, dict[str, str]]]:
    """Return (value, parameters) for each element of a header such as Accept."""
    found = []
    for element in ELEMENT.findall(h):
        value, *parameters = PARAMETER.findall(element) or [""]
        pairs = [parameter.partition("=") for parameter in parameters]
        found.append(
            (_plain(value), {_plain(name).lower(): _plain(text) for name, _, text in pairs})
        )
    return found


def _plain(text: str) -> str:
    text = text.strip()
    return text[1:].removesuffix('"').replace('\\"', '"') if text[:1] == '"' else text


def _re_flatten(p: str) -> str:
    """Return a regular expression with all groups changed to non-capturing groups."""
    return _GROUP.sub(r"\1(?:", p)


class _MultipartParser:
    """Bottle's multipart parser, implemented with the parser of ``request.forms`` and
    ``request.files``.

    ``memfile_limit``: the maximum size in bytes of all fields together, and the size above which a
    file is stored on disk.
    """

    def __init__(
        self,
        stream: IO[bytes],
        boundary: str | None,
        content_length: int = -1,
        disk_limit: int = 2**30,
        mem_limit: int = 2**20,
        memfile_limit: int = 2**18,
        buffer_size: int = 2**16,
        charset: str = "latin1",
    ) -> None:
        self._header = f'multipart/form-data; boundary="{boundary or ""}"; charset={charset}'
        self._stream, self._memory, self._charset = stream, memfile_limit, charset

    def parse(self) -> Iterator[_MultipartPart]:
        """Yield the parts. Raises ``MultipartError``."""
        for name, part in parse_multipart(self._header, self._stream, self._memory)[0]:
            yield _MultipartPart(name, part, self._charset)


class _MultipartPart:
    """A field or a file of a multipart form."""

    def __init__(self, name: str, part: str | FileUpload, charset: str) -> None:
        self.name, self.charset = name, charset
        self.file: Any = BytesIO(part.encode(charset)) if isinstance(part, str) else part.file
        self.filename = None if isinstance(part, str) else part.raw_filename
        self.content_type = None if isinstance(part, str) else part.content_type

    @property
    def raw(self) -> bytes:
        """The content as bytes."""
        self.file.seek(0)
        data: bytes = self.file.read()
        self.file.seek(0)
        return data

    @property
    def value(self) -> str:
        """The content decoded as a string."""
        return self.raw.decode(self.charset)

    def is_buffered(self) -> bool:
        """Return whether the content is in memory rather than on disk."""
        return getattr(self.file, "name", None) is None

    def close(self) -> None:
        """Close the file."""
        self.file.close()
