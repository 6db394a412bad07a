"""The codings in which ``Compress`` sends responses: gzip, and zstd (RFC 8878) and brotli (RFC
7932) if Python or an installed package provides them.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any, NamedTuple, TypeAlias

_GZIP = 16 + zlib.MAX_WBITS  # makes zlib write gzip's header and trailer

# The window size of zstd and brotli is 2 to this power, that is, 256 KiB. Compressing a stream then
# takes 800 KiB of memory at most.
_WINDOW = 18


class Compressor(NamedTuple):
    """Compresses one body.

    - ``add``: takes a chunk and returns compressed bytes, possibly none.
    - ``flush``: returns all compressed bytes that are still buffered.
    - ``finish``: returns the last compressed bytes.
    """

    add: Callable[[bytes], bytes]
    flush: Callable[[], bytes]
    finish: Callable[[], bytes]


# Creates a compressor for a level from 1 to 9, the levels of gzip. For another coding, the level is
# converted to one of the coding's own levels that is at least as fast.
MakeCompressor: TypeAlias = Callable[[int], Compressor]


def _gzip(level: int) -> Compressor:
    made = zlib.compressobj(level, zlib.DEFLATED, _GZIP)
    return Compressor(made.compress, lambda: made.flush(zlib.Z_SYNC_FLUSH), made.flush)


def _zstd_of(module: Any) -> MakeCompressor:
    parameter = module.CompressionParameter

    def zstd(level: int) -> Compressor:
        options = {parameter.compression_level: (level + 1) // 2, parameter.window_log: _WINDOW}
        made = module.ZstdCompressor(options=options)
        return Compressor(made.compress, lambda: made.flush(made.FLUSH_BLOCK), made.flush)

    return zstd


def _brotli_of(module: Any) -> MakeCompressor:
    def brotli(level: int) -> Compressor:
        made = module.Compressor(quality=max(level - 2, 1), lgwin=_WINDOW)
        return Compressor(made.process, made.flush, made.finish)

    return brotli


# For each coding: the modules that provide it, in order of preference, and a function that takes
# the module and returns a ``MakeCompressor``.
_OTHERS: Mapping[str, tuple[tuple[str, ...], Callable[..., MakeCompressor]]] = {
    "zstd": (("compression.zstd", "backports.zstd"), _zstd_of),
    "br": (("brotli", "brotlicffi"), _brotli_of),
}
# The codings that ``Compress`` supports, in order of preference.
CODINGS = (*_OTHERS, "gzip")
PACKAGES = {"zstd": "backports.zstd", "br": "brotli"}


def maker_of(coding: str) -> MakeCompressor | None:
    """Return the function that creates compressors for one of ``CODINGS``, or None if no installed
    module provides the coding.
    """
    if coding == "gzip":
        return _gzip
    modules, make = _OTHERS[coding]
    for name in modules:
        try:
            return make(import_module(name))
        except ImportError:
            continue
    return None
