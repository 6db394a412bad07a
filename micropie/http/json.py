"""JSON, in and out: one contract, and the only place that knows orjson.

``make_codec`` gives a pair ``(dumps, loads)``. With orjson, without it and with one that is too old the same values are
written and read, and the same are refused; the words of an error are those of the parser. The bytes differ in the
exponents of floats alone: 1e-7 is written 1e-07 without orjson.

Written: str, int, float, bool, None, dict, list, tuple, sets and other mappings and sequences, datetime, date
and time (``isoformat()``; a naive one stays naive), UUID and Decimal (strings: a float would lose digits),
Enum (its value), dataclasses, msgspec structs, pydantic models. A subclass counts as its base, a mapping by
its ``items()``. A dict's keys may be anything that becomes a string, number, bool or None by these rules. Compact
UTF-8. Anything else, NaN, Infinity, lone surrogates and more than 254 levels raise ``CodecError``.

Read: RFC 8259. The last of equal keys wins; integers are exact at any size. Refused with ``BadRequest``: malformed
text, a byte order mark, NaN and Infinity, a float too large for a double, a number of more than 4300 characters, an
escaped lone surrogate (it can be neither stored nor sent as UTF-8), more than 100 levels.
"""

from __future__ import annotations

import re
import sys
from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence, Set, ValuesView
from dataclasses import fields, is_dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from itertools import accumulate
from json import JSONDecoder, JSONEncoder
from types import ModuleType
from typing import Any, NoReturn, TypeAlias
from uuid import UUID

from micropie.errors import BadRequest

try:
    import orjson
except ImportError:  # pragma: no cover - the tests call make_codec(None)
    orjson = None  # type: ignore[assignment]

Dumps: TypeAlias = Callable[[object], bytes]
Loads: TypeAlias = Callable[[bytes | bytearray | memoryview | str], Any]

OLDEST_ORJSON = (3, 11, 6)  # CVE-2025-67221: before it, dumps() of deep values overran the stack


class CodecError(ValueError):
    """A value that can't be written as JSON. The message says why."""


def make_codec(module: ModuleType | None) -> tuple[Dumps, Loads]:
    """Return ``(dumps, loads)`` on the orjson ``module``, or on the standard library if it is None or too old."""
    if module is None or tuple(map(int, re.findall(r"\d+", module.__version__)[:3])) < OLDEST_ORJSON:
        return _dumps_plain, _loads_with(_decode_plain)
    return _dumps_with(module), _loads_with(module.loads)


# -- values become JSON ------------------------------------------------------------------------------------------------

_MAX_DEPTH_OUT = 254  # orjson's own limit, counted in the same way
_ATOMS = frozenset([str, int, float, bool, type(None)])
_BUILTINS = _ATOMS | {dict, list, tuple}


def _dumps_with(module: ModuleType) -> Dumps:
    encode: Callable[..., bytes] = module.dumps
    # Without these options orjson drops a dataclass's _names, and ignores a mapping's own items().
    options = module.OPT_PASSTHROUGH_DATETIME | module.OPT_PASSTHROUGH_DATACLASS
    options |= module.OPT_PASSTHROUGH_SUBCLASS

    def dumps(value: object) -> bytes:
        try:
            data = encode(value, _to_builtin, options)
        except TypeError:  # large integers, keys that are not str, mistakes: ``_dumps_plain`` decides
            data = b""
        if not data:
            return _dumps_plain(value)
        if data.find(b"null") >= 0:  # None, or a NaN
            _refuse_nan((value,))
        return data

    return dumps


def _dumps_plain(value: object) -> bytes:
    try:
        tree = _tree_of(value, 0)
    except RecursionError:
        raise _too_deep() from None
    return _encode_plain(tree)


def _encode_plain(tree: object) -> bytes:
    try:
        return _ENCODER.encode(tree).encode()
    except ValueError as error:  # a NaN, a lone surrogate, or an int of too many digits
        raise CodecError(f"The value can't be written as JSON: {error}") from None


_ENCODER = JSONEncoder(ensure_ascii=False, check_circular=False, allow_nan=False, separators=(",", ":"))


def _too_deep() -> CodecError:
    return CodecError(f"More than {_MAX_DEPTH_OUT} levels, or a value that contains itself, can't be written as JSON")


def _tree_of(value: Any, depth: int) -> Any:
    """Return ``value`` made of dicts with str keys, lists and atoms alone.

    The standard library's encoder can't do that by itself: it limits no depth, calls ``default`` for no key, and takes
    an Enum that is a str for that str. It has one frame per level: 254 levels fit into Python's recursion limit.
    """
    while type(value) not in _BUILTINS:
        value = _to_builtin(value)
    if type(value) in _ATOMS:
        return value
    if depth == _MAX_DEPTH_OUT:
        raise _too_deep()
    if type(value) is not dict:
        items = []
        for item in value:
            items.append(_tree_of(item, depth + 1))  # noqa: PERF401 - a comprehension is a frame before Python 3.12
        return items
    tree = {}
    for key, item in value.items():
        name = key if type(key) in _ATOMS else _to_builtin(key)
        if type(name) not in _ATOMS:
            raise CodecError(f"A dict key of type {type(key).__name__} can't be written as JSON; make it a str")
        tree[name if type(name) is str else _encode_plain(name).decode()] = _tree_of(item, depth + 1)
    return tree


def _to_builtin(value: Any) -> object:
    """Return ``value`` one step nearer to the types that JSON has. Raises ``CodecError``."""
    for kind, convert in _CONVERSIONS:
        if isinstance(value, kind):
            return convert(value)
    kind = type(value)
    if is_dataclass(kind):
        return {field.name: getattr(value, field.name) for field in fields(kind)}
    if hasattr(kind, "__struct_fields__"):
        # msgspec knows its renamed fields, tags and unset values. It has been imported, as there is a struct.
        leaves = (datetime, date, time, timedelta, UUID, Decimal, bytes, bytearray, memoryview)
        tree: object = sys.modules["msgspec"].to_builtins(value, builtin_types=leaves, enc_hook=_to_builtin)
        return tree
    if hasattr(kind, "model_dump"):
        dumped: object = value.model_dump(mode="json")
        return _refuse(value) if type(dumped) is kind else dumped
    for kinds, convert in _COLLECTIONS:
        if isinstance(value, kinds):
            return convert(value)
    return _refuse(value)


def _refuse_nan(values: Iterable[Any]) -> None:
    """Raise ``CodecError`` for a NaN or Infinity in ``values``, however deep."""
    for value in values:
        kind = type(value)
        if kind is float:
            if value - value != 0.0:
                raise CodecError("NaN and Infinity can't be written as JSON; return None or a str instead")
        elif kind is dict:
            _refuse_nan(value.values())
        elif kind not in _ATOMS:
            _refuse_nan(value if kind is list or kind is tuple else (_to_builtin(value),))


def _decimal(value: Decimal) -> str:
    return str(value) if value.is_finite() else _refuse(value)


def _refuse(value: object) -> NoReturn:
    raise CodecError(
        f"A value of type {type(value).__name__} can't be written as JSON; return str (bytes: decoded, or by base64), "
        "finite numbers, None, dict, list, a dataclass, datetime or UUID instead"
    )


_CONVERSIONS: tuple[tuple[type, Callable[[Any], object]], ...] = (
    (datetime, datetime.isoformat),
    (date, date.isoformat),
    (time, time.isoformat),
    (UUID, str),
    (Decimal, _decimal),
    (type, _refuse),
    (Enum, lambda value: value.value),  # before str and int: it may be one
    (str, str.__str__),
    (int, int.__int__),
    (float, float.__float__),
    (dict, lambda value: dict(value.items())),
    (list, list),
)
_COLLECTIONS: tuple[tuple[type | tuple[type, ...], Callable[[Any], object]], ...] = (
    (tuple, list),  # after dataclasses, structs and models: each of those may be a collection as well
    ((bytes, bytearray, memoryview), _refuse),
    (Mapping, lambda value: dict(value.items())),
    ((Set, Sequence, ValuesView), list),
)


# -- JSON becomes values -----------------------------------------------------------------------------------------------

_MAX_DEPTH_IN = 100  # no client's data is that deep, and a handler that recurses stays far from Python's limit
_MAX_DIGITS = 4300  # CPython's limit for int(): conversion takes quadratic time


def _loads_with(decode: Callable[[bytes], Any]) -> Loads:
    def loads(data: bytes | bytearray | memoryview | str) -> Any:
        try:
            data = data.encode() if isinstance(data, str) else bytes(data)
            _check_depth(data)
            return _decode_plain(data) if _has_long_number(data) else decode(data)
        except ValueError as error:
            raise BadRequest(f"The JSON is not valid: {error}.") from None

    return loads


def _decode_plain(data: bytes) -> Any:
    text = data.decode()
    value = _DECODER.decode(text)
    if "\\u" in text:
        _LENIENT_ENCODER.encode(value).encode()  # raises ``UnicodeEncodeError`` for a lone surrogate
    return value


def _has_long_number(data: bytes) -> bool:
    """Return whether a number may be beyond 64 bits, which orjson would make a float."""
    # Of 19 digits in a row, at least 4 are at every 4th byte: searching these alone is a quarter of the work.
    return data[3::4].translate(_DIGITS).find(b"0000") >= 0 and _LONG_NUMBER.search(data) is not None


_DIGITS = bytes(48 if 48 <= byte <= 57 else 32 for byte in range(256))
_LONG_NUMBER = re.compile(rb"-[0-9]{19}|[0-9]{20}")


def _check_depth(data: bytes) -> None:
    """Raise ``ValueError`` for more than 100 levels.

    Takes linear time, at C's speed: it removes escapes, then all but brackets and quotes, then strings, and counts.
    """
    if data.count(b"[") + data.count(b"{") <= _MAX_DEPTH_IN:
        return
    if b"\\" in data:
        data = data.replace(b"\\\\", b"").replace(b'\\"', b"")
    marks = data.translate(None, _NEITHER_BRACKET_NOR_QUOTE).replace(b'""', b"")
    brackets = b"".join(marks.split(b'"')[::2])
    if max(accumulate(array("b", brackets.translate(_STEPS))), default=0) > _MAX_DEPTH_IN:
        raise ValueError(f"it is nested deeper than {_MAX_DEPTH_IN} levels")


_NEITHER_BRACKET_NOR_QUOTE = bytes(set(range(256)) - set(b'[]{}"'))
_STEPS = bytes.maketrans(b"[{]}", b"\x01\x01\xff\xff")  # 0xff is -1 as a signed byte


def _read_float(text: str) -> float:
    value = float(_short(text))
    if value - value != 0.0:
        raise ValueError("a number is too large for a float")
    return value


def _short(text: str) -> str:
    if len(text) > _MAX_DIGITS:
        raise ValueError(f"a number has more than {_MAX_DIGITS} digits")
    return text


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number in JSON")


_DECODER = JSONDecoder(
    parse_float=_read_float, parse_int=lambda text: int(_short(text)), parse_constant=_refuse_constant
)
_LENIENT_ENCODER = JSONEncoder(ensure_ascii=False, check_circular=False)

dumps, loads = make_codec(orjson)
