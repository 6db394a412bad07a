"""What becomes JSON, and how: the rules that every answer follows, with orjson or without.

Written: str, int, float, bool, None, dict, list, tuple, sets and other mappings and sequences, datetime, date
and time (``isoformat()``; a naive one stays naive), UUID and Decimal (strings: a float would lose digits),
Enum (its value), dataclasses, msgspec structs, pydantic models. A subclass counts as its base, a mapping by
its ``items()``. A dict's keys may be whatever is a string, number, bool or None by these rules. Compact
UTF-8. Anything else, NaN, Infinity, lone surrogates and more than 254 levels raise ``CodecError``.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence, Set, ValuesView
from dataclasses import fields, is_dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from json.encoder import encode_basestring as quoted
from typing import Any, NoReturn
from uuid import UUID

MAX_DEPTH = 254  # orjson's own limit, counted in the same way


class CodecError(ValueError):
    """A value that can't be written as JSON; says which type, and what to return instead."""


def dumps_plain(value: Any) -> bytes:
    """``value`` as JSON. Raises ``CodecError``."""
    pieces: list[str] = []
    try:
        _write(value, pieces.append, 0)
        return "".join(pieces).encode()
    except RecursionError:
        raise CodecError(_TOO_DEEP) from None
    except UnicodeEncodeError:
        raise CodecError("A lone surrogate can't be written as JSON; replace it in the string") from None


_TOO_DEEP = f"More than {MAX_DEPTH} levels, or a value that contains itself, can't be written as JSON"


def _write(value: Any, write: Callable[[str], None], depth: int) -> None:
    # One function, because each level of frames counts: 254 levels have to fit into Python's recursion limit.
    while type(value) not in _BUILTINS:
        value = to_builtin(value)
    atom = _ATOMS.get(type(value))
    if atom:
        write(atom(value))
        return
    if depth == MAX_DEPTH:
        raise CodecError(_TOO_DEEP)
    comma = ""
    if type(value) is dict:
        write("{")
        for key, item in value.items():
            write(f"{comma}{_key(key)}:")
            _write(item, write, depth + 1)
            comma = ","
        write("}")
    else:
        write("[")
        for item in value:
            write(comma)
            _write(item, write, depth + 1)
            comma = ","
        write("]")


def _key(key: Any) -> str:
    plain = key if type(key) in _BUILTINS else to_builtin(key)
    if type(plain) is str:
        return quoted(plain)
    if type(plain) not in _ATOMS:
        raise CodecError(f"A dict key of type {type(key).__name__} can't be written as JSON; make it a str")
    return f'"{_ATOMS[type(plain)](plain)}"'


_NOT_FINITE = "NaN and Infinity can't be written as JSON; return None or a str instead"


def _int(value: int) -> str:
    try:
        return str(value)
    except ValueError:
        raise CodecError("An integer of more than 4300 digits can't be written as JSON") from None


def _float(value: float) -> str:
    """As ``repr()``, but 0.00001 and 1e-7 where that writes 1e-05 and 1e-07: orjson's form."""
    if value - value != 0.0:
        raise CodecError(_NOT_FINITE)
    text = repr(value)
    mantissa, small, exponent = text.partition("e-")
    if not small:
        return text
    if exponent != "05":
        return f"{mantissa}e-{int(exponent)}"
    sign = "-" if value < 0 else ""
    return f"{sign}0.0000{mantissa.lstrip('-').replace('.', '')}"


_ATOMS: dict[type, Callable[[Any], str]] = {
    str: quoted,
    int: _int,
    float: _float,
    bool: lambda value: "true" if value else "false",
    type(None): lambda value: "null",
}
_BUILTINS = frozenset([*_ATOMS, dict, list, tuple])


def to_builtin(value: Any) -> Any:
    """A value one step nearer to the types that JSON has."""
    for kind, convert in _CONVERSIONS:
        if isinstance(value, kind):
            return convert(value)
    kind = type(value)
    if is_dataclass(kind):
        return {field.name: getattr(value, field.name) for field in fields(value)}
    if hasattr(kind, "__struct_fields__"):
        return _struct(value)
    if hasattr(kind, "model_dump"):
        return _model(value)
    for kind, convert in _COLLECTIONS:
        if isinstance(value, kind):
            return convert(value)
    return _refuse(value)


def _struct(value: Any) -> Any:
    # msgspec knows its renamed fields, tags and unset values; whoever made a struct has imported it.
    kinds = (datetime, date, time, timedelta, UUID, Decimal, bytes, bytearray, memoryview)
    return sys.modules["msgspec"].to_builtins(value, builtin_types=kinds, enc_hook=to_builtin)


def _model(value: Any) -> Any:
    dumped = value.model_dump(mode="json")
    return _refuse(value) if type(dumped) is type(value) else dumped


def _decimal(value: Decimal) -> str:
    if not value.is_finite():
        raise CodecError(_NOT_FINITE)
    return str(value)


def _refuse(value: object) -> NoReturn:
    raise CodecError(
        f"A value of type {type(value).__name__} can't be written as JSON; "
        "return str, numbers, None, dict, list, a dataclass, datetime or UUID instead"
    )


def _refuse_bytes(value: object) -> NoReturn:
    raise CodecError(f"A {type(value).__name__} can't be written as JSON; decode it to str, or use base64")


_CONVERSIONS: tuple[tuple[type, Callable[[Any], Any]], ...] = (
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
_COLLECTIONS: tuple[tuple[Any, Callable[[Any], Any]], ...] = (
    (tuple, list),  # after dataclasses, structs and models: each of those may be a collection as well
    ((bytes, bytearray, memoryview), _refuse_bytes),
    (Mapping, lambda value: dict(value.items())),
    ((Set, Sequence, ValuesView), list),
)


def refuse_nan(values: Any) -> None:
    """Raises ``CodecError`` for a NaN or Infinity in ``values``, whatever else they are made of."""
    for value in values:
        kind = type(value)
        if kind is float:
            _float(value)
        elif kind in _ATOMS:
            pass
        elif kind is dict:
            refuse_nan(value.values())
        else:
            refuse_nan(value if kind is list or kind is tuple else (to_builtin(value),))
