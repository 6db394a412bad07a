"""The content type for a file's name, and the Content-Disposition header that makes a browser save
a file.

The result is the same on every machine, because neither /etc/mime.types nor the Windows registry is
read.
"""

from __future__ import annotations

import mimetypes
import re
import unicodedata
from functools import cache, lru_cache
from urllib.parse import quote

from micropie._core.http.forms import MAX_FILENAME

# The type of a file about which nothing is known. Browsers neither run nor show such a file (RFC
# 9110, section 8.3).
UNKNOWN = "application/octet-stream"

# Types that web sites need, and that ``mimetypes`` lacks in all or some versions of Python. (Python
# 3.12 added RFC 9239's type for scripts, and 3.13 added the type for webp.) The type for XML must
# not be text/*: a charset would be added to it, and this charset would override the one that the
# file declares (RFC 7303, section 3). A line has a type and its extensions.
_OWN_TYPES = """
application/atom+xml .atom
application/dash+xml .mpd
application/epub+zip .epub
application/geo+json .geojson
application/gpx+xml .gpx
application/gzip .gz .tgz
application/json .map
application/ld+json .jsonld
application/manifest+json .webmanifest
application/rss+xml .rss
application/rtf .rtf
application/toml .toml
application/vnd.android.package-archive .apk
application/vnd.google-earth.kml+xml .kml
application/vnd.google-earth.kmz .kmz
application/vnd.oasis.opendocument.presentation .odp
application/vnd.oasis.opendocument.spreadsheet .ods
application/vnd.oasis.opendocument.text .odt
application/vnd.openxmlformats-officedocument.presentationml.presentation .pptx
application/vnd.openxmlformats-officedocument.spreadsheetml.sheet .xlsx
application/vnd.openxmlformats-officedocument.wordprocessingml.document .docx
application/x-7z-compressed .7z
application/x-bzip2 .bz2
application/x-xz .xz
application/xhtml+xml .xhtml
application/xml .xml
application/yaml .yaml .yml
application/zstd .zst
audio/flac .flac
audio/mp4 .m4a
audio/ogg .ogg .opus
font/otf .otf
font/ttf .ttf
font/woff .woff
font/woff2 .woff2
image/avif .avif
image/heic .heic
image/webp .webp
model/gltf+json .gltf
model/gltf-binary .glb
text/calendar .ics
text/javascript .js .mjs
text/markdown .md
text/plain .log
text/vcard .vcf
text/vtt .vtt
video/iso.segment .m4s
video/matroska .mkv
video/mp2t .ts
video/ogg .ogv
"""

# Doesn't match ".png", which is a hidden file's name without an extension.
_EXTENSION = re.compile(r"[^/]\.[A-Za-z0-9+_-]{1,16}")

# Characters that can't be in a quoted file name: "\" escapes, '"' ends the string, and browsers
# decode "%" (RFC 6266, appendix D).
_NOT_PLAIN = re.compile(r'[^\x20-\x7e]|["\\%/]')
_NOT_IN_A_NAME = re.compile(r"[\x00-\x1f\x7f/\\]")
# These characters are invisible, and some change the direction of the text after them:
# "invoice-\u202Efdp.exe" is shown as "invoice-exe.pdf".
_NOT_SEEN = re.compile("[\x80-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff]")


@lru_cache(maxsize=1024)
def content_type_of(name: str) -> str:
    """Return the content type for a file's name. Text types have ``charset=utf-8``. For an unknown
    extension, return ``application/octet-stream``.
    """
    dot = name.rfind(".")
    if dot < 1 or not _EXTENSION.fullmatch(name, dot - 1):
        return UNKNOWN
    return _types().get(name[dot:].lower(), UNKNOWN)


@cache
def _types() -> dict[str, str]:
    # brotli has no registered type
    table = {**mimetypes.MimeTypes().types_map[True], ".br": UNKNOWN}
    for kind, *suffixes in map(str.split, _OWN_TYPES.strip().splitlines()):
        table |= dict.fromkeys(suffixes, kind)
    return {
        suffix: f"{kind}; charset=utf-8" if kind.startswith("text/") else kind
        for suffix, kind in table.items()
    }


def attachment(name: str) -> str:
    """Return the Content-Disposition header that makes a browser save a file as ``name`` (RFC
    6266).

    A name that is not plain ASCII is sent twice: ``filename*`` for current browsers, ``filename``
    for all others. The name is cut after 255 characters, because no file name is longer.
    """
    name = (
        _NOT_IN_A_NAME.sub("_", _NOT_SEEN.sub("", name[:MAX_FILENAME]))
        .encode("utf-8", "replace")
        .decode()
    )
    plain = _NOT_PLAIN.sub("_", in_ascii(name)) or "download"
    header = f'attachment; filename="{plain}"'
    return (
        header
        if plain == name or not name
        else f"{header}; filename*=UTF-8''{quote(name, safe='')}"
    )


def in_ascii(name: str) -> str:
    """Return a file's name in ASCII: without accents, without other non-ASCII characters, and with
    at most 255 characters.

    The name is truncated before its accented characters are decomposed, because decomposing takes
    quadratic time.
    """
    return unicodedata.normalize("NFKD", name[:MAX_FILENAME]).encode("ascii", "ignore").decode()
