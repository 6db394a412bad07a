"""The values that become JSON, and how: the rules that every answer follows, with orjson or without.

Written: str, int, float, bool, None, dict, list, tuple, sets and other mappings and sequences, datetime, date
and time (``isoformat()``; a naive one stays naive), UUID and Decimal (strings: a float would lose digits),
Enum (its value), dataclasses, msgspec structs, pydantic models. A subclass counts as its base, a mapping by
its ``items()``. A dict's keys may be anything that becomes a string, number, bool or None by these rules. Compact
UTF-8. Anything else, NaN, Infinity, lone surrogates and more than 254 levels raise ``CodecError``.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence, Set, ValuesView
from dataclasses import fields, is_dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from json import JSONEncoder
from typing import Any, NoReturn
from uuid import UUID

MAX_DEPTH = 254  # orjson's own limit, counted in the same way

_TOO_DEEP = f"More than {MAX_DEPTH} levels, or a value that contains itself, can't be written as JSON"
_NOT_FINITE = "NaN and Infinity can't be written as JSON; return None or a str instead"

_ATOMS = frozenset([str, int, float, bool, type(None)])
_BUILTINS = _ATOMS | {dict, list, tuple}


class CodecError(ValueError):
    """A value that can't be written as JSON. The message names its type and what to return instead."""


def dumps_plain(value: object) -> bytes:
    """Return ``value`` as JSON, written by the standard library. Raises ``CodecError``."""
    try:
        tree = _tree_of(value, 0)
    except RecursionError:
        raise CodecError(_TOO_DEEP) from None
    try:
        return _encode(tree).encode()
    except UnicodeEncodeError:
        raise CodecError("A lone surrogate can't be written as JSON; replace it in the string") from None


def _tree_of(value: Any, depth: int) -> Any:
    """Return ``value`` made of dicts with str keys, lists and atoms alone.

    The standard library's encoder can't do that by itself: it limits no depth, calls ``default`` for no key, and takes
    an Enum that is a str for that str. It has one frame per level: 254 levels fit into Python's recursion limit.
    """
    while type(value) not in _BUILTINS:
        value = to_builtin(value)
    if type(value) in _ATOMS:
        return value
    if depth == MAX_DEPTH:
        raise CodecError(_TOO_DEEP)
    if type(value) is not dict:
        items = []
        for item in value:
            items.append(_tree_of(item, depth + 1))  # noqa: PERF401 - a comprehension is a frame before Python 3.12
        return items
    tree = {}
    for key, item in value.items():
        name = key if type(key) in _ATOMS else to_builtin(key)
        if type(name) not in _ATOMS:
            raise CodecError(f"A dict key of type {type(key).__name__} can't be written as JSON; make it a str")
        tree[name if type(name) is str else _encode(name)] = _tree_of(item, depth + 1)
    return tree


_ENCODER = JSONEncoder(ensure_ascii=False, check_circular=False, allow_nan=False, separators=(",", ":"))


def _encode(tree: object) -> str:
    try:
        return _ENCODER.encode(tree)
    except ValueError:  # a NaN, or CPython's limit for int.__repr__
        failure = CodecError("An integer of more than 4300 digits can't be written as JSON")
    refuse_nan((tree,))
    raise failure


def to_builtin(value: Any) -> object:
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
        tree: object = sys.modules["msgspec"].to_builtins(value, builtin_types=leaves, enc_hook=to_builtin)
        return tree
    if hasattr(kind, "model_dump"):
        dumped: object = value.model_dump(mode="json")
        return _refuse(value) if type(dumped) is kind else dumped
    for kinds, convert in _COLLECTIONS:
        if isinstance(value, kinds):
            return convert(value)
    return _refuse(value)


def refuse_nan(values: Iterable[Any]) -> None:
    """Raise ``CodecError`` for a NaN or Infinity in ``values``, however deep."""
    for value in values:
        kind = type(value)
        if kind is float:
            if value - value != 0.0:
                raise CodecError(_NOT_FINITE)
        elif kind in _ATOMS:
            pass
        elif kind is dict:
            refuse_nan(value.values())
        else:
            refuse_nan(value if kind is list or kind is tuple else (to_builtin(value),))


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
    ((bytes, bytearray, memoryview), _refuse_bytes),
    (Mapping, lambda value: dict(value.items())),
    ((Set, Sequence, ValuesView), list),
)
