"""What a file's name says: its content type, and the header that has a browser save it under that name.

The same on every machine: neither /etc/mime.types nor a registry is asked.
"""

from __future__ import annotations

import mimetypes
import re
import unicodedata
from functools import lru_cache
from urllib.parse import quote

UNKNOWN = "application/octet-stream"  # which no browser runs or shows (RFC 9110, section 8.3)

# What the web needs and ``mimetypes`` has late or otherwise: 3.12 gave scripts the type of RFC 9239, 3.13 knows webp.
# XML states its charset itself, so it must not be text/*, whose charset would count for more (RFC 7303, section 3).
_OWN_TYPES = {
    ".avif": "image/avif",
    ".br": UNKNOWN,  # brotli has no type of its own
    ".bz2": "application/x-bzip2",
    ".flac": "audio/flac",
    ".gz": "application/gzip",
    ".ics": "text/calendar",
    ".js": "text/javascript",
    ".json": "application/json",
    ".log": "text/plain",
    ".m4a": "audio/mp4",
    ".map": "application/json",
    ".md": "text/markdown",
    ".mjs": "text/javascript",
    ".ogg": "audio/ogg",
    ".otf": "font/otf",
    ".rtf": "application/rtf",
    ".tgz": "application/gzip",
    ".ttf": "font/ttf",
    ".wasm": "application/wasm",
    ".webm": "video/webm",
    ".webmanifest": "application/manifest+json",
    ".webp": "image/webp",
    ".woff": "font/woff",
    ".woff2": "font/woff2",
    ".xml": "application/xml",
    ".xz": "application/x-xz",
    ".yaml": "application/yaml",
    ".yml": "application/yaml",
    ".zst": "application/zstd",
}

_EXTENSION = re.compile(r"[^/]\.[A-Za-z0-9+_-]{1,16}")  # of which there is a name: ".png" alone has none

# In a quoted string, "\" escapes and '"' ends, and browsers decode "%" there, too (RFC 6266, appendix D).
_NOT_PLAIN = re.compile(r'[^\x20-\x7e]|["\\%]')
_NOT_IN_A_NAME = re.compile(r"[\x00-\x1f\x7f/\\]")


def content_type_of(name: str) -> str:
    """The content type of a file of this name; text is UTF-8, and what is not known is bytes."""
    dot = name.rfind(".")
    if dot < 1 or not _EXTENSION.fullmatch(name, dot - 1):
        return UNKNOWN
    return _types().get(name[dot:].lower(), UNKNOWN)


@lru_cache(maxsize=1)
def _types() -> dict[str, str]:
    table = {**mimetypes.MimeTypes().types_map[True], **_OWN_TYPES}
    return {ending: f"{kind}; charset=utf-8" if kind.startswith("text/") else kind for ending, kind in table.items()}


def attachment(name: str) -> str:
    """The Content-Disposition that has a browser save a file as ``name`` (RFC 6266).

    What is not plain ASCII is sent in both ways: ``filename*`` for all browsers of today, ``filename`` for the rest.
    """
    name = _NOT_IN_A_NAME.sub("_", name).encode("utf-8", "replace").decode()
    plain = _NOT_PLAIN.sub("_", unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()) or "download"
    header = f'attachment; filename="{plain}"'
    return header if plain == name else f"{header}; filename*=UTF-8''{quote(name, safe='')}"
