"""Encode structures as JSON by their annotation: with msgspec or pydantic, if these write values of
the annotation as ``http/json.py`` does, which takes several times as long.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from functools import cached_property, partial
from types import NoneType, UnionType
from typing import Annotated, Literal, NewType, Union, get_args, get_origin
from uuid import UUID

from micropie._core.binding.annotations import COLLECTIONS, UNREADABLE, Hint, is_enum
from micropie._core.binding.fields import (
    is_named_tuple,
    is_pydantic,
    is_structure,
    kinds_in,
)
from micropie._core.binding.structures.makers import ByPydantic, Maker
from micropie._core.binding.values.adapters import SCHEMAS, schemas_in
from micropie._core.binding.values.shapes import Shape
from micropie._core.http.json import Dumps, Encoders, encoder_of, msgspec

# Types whose values msgspec writes as ``http/json.py`` does.
_ALIKE = {str, int, float, bool, NoneType, bytes, date, timedelta, UUID, Decimal}
_LATE = {datetime, time}  # msgspec writes "Z" for UTC
_FORMS = {Literal, Union, UnionType, Annotated}
_BASES = (list, tuple, set, frozenset, dict, str, int, float)
_KNOWN = (*_BASES, *_ALIKE, *_LATE, Enum)


class Writer:
    """A function that encodes the results of one annotation as JSON.

    - ``maker``, ``shape``: those of the annotation.
    - ``dumps``, ``own``: the application's function, which encodes all other values, and its
      encoders.
    """

    def __init__(self, maker: Maker, shape: Shape, dumps: Dumps, own: Encoders) -> None:
        self._maker, self._shape, self._dumps, self._own = maker, shape, dumps, own

    @cached_property
    def _encode(self) -> Dumps | None:
        if isinstance(self._maker, ByPydantic):
            adapter = self._maker.adapter
            is_alike = not self._own and _is_alike_in_pydantic(adapter.core_schema)
            return partial(adapter.dump_json, by_alias=True) if is_alike else None
        try:
            kinds = kinds_in(self._maker.hint)
            library = msgspec()
        except (ImportError, *UNREADABLE):
            return None
        if any(map(_is_known, self._own)) or not all(map(self._is_alike, kinds)):
            return None
        if not _LATE.intersection(map(_owner, kinds)):
            encode: Dumps = library.json.Encoder().encode
            return encode
        return lambda value: self._dumps(library.to_builtins(value, builtin_types=_LATE))

    def _is_alike(self, kind: Hint) -> bool:
        """Return whether msgspec writes values of a type as ``http/json.py`` does, apart from what
        is inside them.
        """
        owner = _owner(kind)
        if isinstance(kind, NewType) or kind in (None, ...) or owner in _FORMS:
            return True
        if not isinstance(owner, type) or encoder_of(owner, self._own) is not None:
            return False
        if is_structure(kind):
            # msgspec leaves out fields of dataclasses that ``__init__`` doesn't take, and sorts
            # those of attrs classes.
            is_other = is_pydantic(kind) or hasattr(owner, "__attrs_attrs__")
            fields = getattr(owner, "__dataclass_fields__", {}).values()
            is_taken = all(field.init for field in fields)
            return is_taken and not (is_other or issubclass(owner, _BASES))
        if is_enum(owner):
            return all(type(one.value) in (str, int) for one in owner) and (
                not issubclass(owner, str | int | float) or all(one == one.value for one in owner)
            )
        if owner in (dict, Mapping):
            return get_args(kind)[:1] == (str,)
        if owner in COLLECTIONS:
            return bool(get_args(kind))
        return owner in _ALIKE or owner in _LATE or is_named_tuple(kind)

    def __call__(self, value: object) -> bytes:
        """Return a value encoded as JSON."""
        encode = self._encode
        try:
            if encode is not None and self._shape.is_plain(value):
                return encode(value)
        except (TypeError, ValueError, AttributeError, RecursionError):
            pass  # explained by ``dumps``, if it can't encode the value either
        return self._dumps(value)


def _owner(kind: Hint) -> Hint:
    return get_origin(kind) or kind


def _is_known(kind: type) -> bool:
    """Return whether msgspec itself encodes objects of a class, without asking for an encoder."""
    return kind is object or is_structure(kind) or issubclass(kind, _KNOWN)


def _is_alike_in_pydantic(schema: object) -> bool:
    """Return whether pydantic writes exactly the fields of its models, each by its annotation."""
    for part in schemas_in(schema):
        kind, config = part["type"], part.get("config", {})
        model = part["cls"] if kind == "model" else None
        if (
            not SCHEMAS.fullmatch(kind)
            or "serialization" in part
            or part.get("computed_fields")
            or config.get("extra_fields_behavior") == "allow"
            or "ser_json_inf_nan" in config
            or (model is not None and model.model_dump.__module__ != "pydantic.main")
        ):
            return False
    return True
