"""JSON, in and out: one contract, and the only place that knows orjson.

``make_codec`` gives a pair ``(dumps, loads)``. ``encoder`` and ``decoder`` are the contract, on the standard library's
``json``; orjson only makes it fast. Where orjson would answer otherwise (it writes null for NaN and reads 2**64
as a float) it is not used, or its result is not taken, so a deployment without it sends and accepts the same values and
raises the same errors. The bytes differ in the exponents of floats alone: 1e-7 is written 1e-07 without orjson. A rule
about JSON belongs in one of the other two modules.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from types import ModuleType
from typing import Any, TypeAlias

from micropie.http.json.decoder import MAX_DEPTH as MAX_DEPTH_IN
from micropie.http.json.decoder import as_bytes, check_depth, loads_plain
from micropie.http.json.encoder import CodecError, dumps_plain, refuse_nan, to_builtin

try:
    import orjson
except ImportError:  # pragma: no cover - the tests call make_codec(None)
    orjson = None  # type: ignore[assignment]

__all__ = ["CodecError", "Dumps", "Loads", "dumps", "loads", "make_codec"]

Dumps: TypeAlias = Callable[[object], bytes]
Loads: TypeAlias = Callable[[bytes | bytearray | memoryview | str], Any]

OLDEST_ORJSON = (3, 11, 6)  # CVE-2025-67221: before it, dumps() of deep values overran the stack


def make_codec(module: ModuleType | None) -> tuple[Dumps, Loads]:
    """Return ``(dumps, loads)`` on the orjson ``module``, or on the standard library if it is None or too old."""
    if module is None or tuple(map(int, re.findall(r"\d+", module.__version__)[:3])) < OLDEST_ORJSON:
        return dumps_plain, loads_plain
    return _fast_dumps(module), _fast_loads(module)


def _fast_dumps(module: ModuleType) -> Dumps:
    encode: Callable[..., bytes] = module.dumps
    # Without these options orjson drops a dataclass's _names, and ignores a mapping's own items().
    options = module.OPT_PASSTHROUGH_DATETIME | module.OPT_PASSTHROUGH_DATACLASS
    options |= module.OPT_PASSTHROUGH_SUBCLASS

    def dumps(value: object) -> bytes:
        try:
            data = encode(value, to_builtin, options)
        except TypeError:  # large integers, keys that are not str, mistakes: ``dumps_plain`` decides
            data = b""
        if not data:
            return dumps_plain(value)
        # A null is None or a NaN. find(), because ``in`` first tries whether the pattern is an int: 50 ns more.
        if data.find(b"null") >= 0:
            refuse_nan((value,))
        return data

    return dumps


def _fast_loads(module: ModuleType) -> Loads:
    decode: Callable[[bytes], Any] = module.loads

    def loads(data: bytes | bytearray | memoryview | str) -> Any:
        if type(data) is not bytes:
            data = as_bytes(data)
        if len(data) > MAX_DEPTH_IN:
            check_depth(data)
        # Of 19 digits in a row, at least 4 are at every 4th byte: searching these alone is a quarter of the work.
        if data[3::4].translate(_DIGITS).find(b"0000") >= 0 and _LONG_NUMBER.search(data):
            return loads_plain(data)
        try:
            return decode(data)
        except ValueError:
            pass
        return loads_plain(data)  # for the same error message as without orjson

    return loads


_DIGITS = bytes(48 if 48 <= byte <= 57 else 32 for byte in range(256))
_LONG_NUMBER = re.compile(rb"-[0-9]{19}|[0-9]{20}")  # beyond 64 bits orjson makes it a float


dumps, loads = make_codec(orjson)
