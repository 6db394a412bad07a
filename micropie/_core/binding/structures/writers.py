"""Encode structures as JSON by their annotation: with msgspec or pydantic, if these write values of
the annotation as ``http/json.py`` does, which takes several times as long.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from datetime import datetime, time
from enum import Enum
from functools import cached_property, partial
from types import NoneType
from typing import Any, NewType, get_args, get_origin

from micropie._core.binding.annotations import (
    COLLECTIONS,
    MAPPINGS,
    UNREADABLE,
    Hint,
    bare,
    is_enum,
    owner_of,
    united,
)
from micropie._core.binding.fields import (
    attributes_of,
    is_named_tuple,
    is_pydantic,
    is_structure,
    kinds_in,
    written_kinds,
)
from micropie._core.binding.structures.makers import SCALARS, ByPydantic, Maker
from micropie._core.binding.values.adapters import SCHEMAS, schemas_in
from micropie._core.binding.values.shapes import FORMS, Shape
from micropie._core.http.json import Dumps, Encoders, encoder_of, msgspec, orjson

_LATE = {datetime, time}  # msgspec writes "Z" for UTC
_KNOWN = (list, tuple, set, frozenset, dict, *SCALARS, NoneType, Enum)


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
            if self._own or not _is_alike_in_pydantic(adapter.core_schema):
                return None
            outer = written_kinds(self._maker.hint)
            if any(len(united(bare(one)[0])) > 1 for one in outer):
                # pydantic tries the members of a union one by one. Values that reach ``_encode``
                # have exactly the classes of the members, so each is written as its class says.
                adapter = sys.modules["pydantic"].TypeAdapter(Any)
            return partial(adapter.dump_json, by_alias=True)
        try:
            kinds = kinds_in(self._maker.hint)
            library, (body, _) = msgspec(), bare(self._maker.hint)
            ordered = _ordered(body)  # without None, because msgspec compiles a union at each call
        except (ImportError, *UNREADABLE):
            return None
        # msgspec encodes objects of some classes itself, without asking for an encoder
        is_taken = any(
            one is object or is_structure(one) or issubclass(one, _KNOWN) for one in self._own
        )
        if is_taken or not all(map(self._is_alike, kinds)):
            return None
        encode: Dumps = library.json.Encoder().encode
        if _LATE.intersection(map(owner_of, kinds)):
            dump, module = library.to_builtins, orjson()
            write = self._dumps if module is None else module.dumps
            encode = lambda value: write(dump(value, builtin_types=_LATE))  # noqa: E731
        if ordered is Any:
            return encode
        return lambda value: encode(library.convert(value, ordered, from_attributes=True))

    def _is_alike(self, kind: Hint) -> bool:
        """Return whether msgspec writes values of a type as ``http/json.py`` does, apart from what
        is inside them.
        """
        owner = owner_of(kind)
        if isinstance(kind, NewType) or kind in (None, ...) or owner in FORMS:
            return True
        if not isinstance(owner, type) or encoder_of(owner, self._own) is not None:
            return False
        if is_structure(kind):
            # msgspec leaves out fields of dataclasses that ``__init__`` doesn't take
            fields = getattr(owner, "__dataclass_fields__", {}).values()
            is_taken = all(field.init for field in fields)
            return is_taken and not (is_pydantic(kind) or issubclass(owner, _KNOWN))
        if is_enum(owner):
            return all(type(one.value) in (str, int) for one in owner) and (
                not issubclass(owner, str | int | float) or all(one == one.value for one in owner)
            )
        if owner in MAPPINGS:
            return get_args(kind)[:1] == (str,)
        if owner in COLLECTIONS:
            return bool(get_args(kind))
        return owner in (*SCALARS, NoneType) or is_named_tuple(kind)

    def __call__(self, value: object, is_checked: bool = False) -> bytes:
        """Return a value encoded as JSON. ``is_checked``: whether the shape says that the value is
        plain.
        """
        encode = self._encode
        try:
            if encode is not None and (is_checked or self._shape.is_plain(value)):
                return encode(value)
        except (TypeError, ValueError, AttributeError, RecursionError):
            pass  # explained by ``dumps``, if it can't encode the value either
        return self._dumps(value)


def _ordered(hint: Hint, around: tuple[Hint, ...] = ()) -> Hint:
    """Return the type to which values are converted before msgspec encodes them, or ``Any`` if they
    contain no objects of attrs classes. msgspec sorts the fields of these, so the type has a Struct
    with the same fields instead. Converting refuses other values or leaves them unchanged.

    Raises ``TypeError`` if an attrs class contains itself, or is inside a union, a set or another
    structure. ``around``: the attrs classes around this annotation.
    """
    kind, is_optional = bare(hint)
    owner, parts = get_origin(kind), get_args(kind)
    inside = [one for one in kinds_in(kind) if hasattr(owner_of(one), "__attrs_attrs__")]
    if not inside:
        return kind | None if kind in (str, int, bool) else Any
    if kind in inside and kind not in around:
        attributes = attributes_of(kind).items()
        fields = [(name, _ordered(inner, (*around, kind))) for name, inner in attributes]
        made = msgspec().defstruct("Ordered", fields, gc=False)
    elif owner in (list, tuple, Sequence, dict, Mapping):
        made = owner[tuple(one if one is ... else _ordered(one, around) for one in parts)]
    else:
        raise TypeError
    return made | None if is_optional else made


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
