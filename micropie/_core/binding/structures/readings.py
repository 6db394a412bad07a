"""Convert the values inside a document as those of parameters, by the annotation of each value.
msgspec then gets the converted values, so a text has one meaning, wherever it is read.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from functools import partial
from itertools import chain, repeat
from operator import is_
from typing import Any, NamedTuple, TypeAlias, Union, get_args, get_origin
from uuid import UUID

from micropie._core.binding.annotations import MAPPINGS, Hint, is_choice, is_enum, takes_json_text
from micropie._core.binding.fields import (
    chosen,
    elements_in,
    fields_of,
    is_structure,
    kinds_in,
    layers_of,
    tag_of,
)
from micropie._core.binding.values.converters import (
    OwnTypes,
    as_it_is,
    converter_for,
    first_that_fits,
    simple_types,
)

_Convert: TypeAlias = Callable[[Any, bool], object]

# The types for which pydantic refuses what browsers send: a time without seconds, and "" for an
# unticked box.
_OF_PYDANTIC = (bool, datetime, time)
READ_BY_MSGSPEC = (*_OF_PYDANTIC, int, float, Decimal, UUID, date, timedelta, bytes)

_MOST_KNOWN = 10_000  # annotations; a search for errors may evaluate some again


class _Reader(NamedTuple):
    """How the values of an annotation are converted.

    - ``convert``: takes a value and whether it comes from JSON. None if no value is converted.
    - ``exact``: a value of exactly this type stays as it is.
    """

    convert: _Convert | None
    exact: type | None = None


class Reading:
    """Converts the values inside documents.

    - ``own``: the application's encoders and decoders.
    - ``is_pydantics``: whether pydantic creates the structures. It has its own rules for most
      texts, so only those are converted that it would refuse.
    """

    def __init__(self, own: OwnTypes, is_pydantics: bool) -> None:
        self._own, self._is_pydantics = own, is_pydantics
        # by id, because metadata of ``Annotated`` may not be hashable
        self._known: dict[int, tuple[Hint, _Reader]] = {}
        self._kinds = _OF_PYDANTIC if is_pydantics else READ_BY_MSGSPEC

    def read(self, hint: Hint, value: object, is_json: bool) -> object:
        """Return a document with the values that a parameter accepts converted. Any other value
        stays as it is.

        ``is_json``: whether the strings are those of JSON, not of a form or a query.

        Raises ``ValueError`` if an Enum that has an encoder isn't sent as it is encoded, because
        msgspec would accept its value.
        """
        convert, exact = self._reader(hint)
        if convert is None or value is None or type(value) is exact:
            return value
        return convert(value, is_json)

    def _reader(self, hint: Hint) -> _Reader:
        known = self._known.get(id(hint))
        if known is None:
            if len(self._known) == _MOST_KNOWN:
                self._known.clear()
            known = self._known[id(hint)] = hint, self._compiled(hint)
        return known[1]

    def _is_read(self, kind: object) -> bool:
        is_own = self._is_pydantics and isinstance(kind, type) and kind in self._own.decoders
        return kind in self._kinds or is_choice(kind) or is_own

    def _compiled(self, hint: Hint) -> _Reader:
        types = [*layers_of(hint)]
        # the text of ``Json`` is for pydantic
        if any(map(takes_json_text, types)) or not any(map(self._is_read, kinds_in(hint))):
            return _Reader(None)
        of_object, of_array = self._object(types), self._array(types)
        of_text, of_json = self._scalar(types)

        def convert(value: object, is_json: bool) -> object:
            if isinstance(value, dict):
                return of_object(value, is_json)
            if isinstance(value, list):
                return of_array(value, is_json)
            return of_json(value) if is_json or not isinstance(value, str) else of_text(value)

        scalars = [*filter(self._is_read, types)]
        return _Reader(convert, next((one for one in (bool, int, float) if scalars == [one]), None))

    def _object(self, types: Sequence[Hint]) -> _Convert:
        """Return the function that converts the values inside an object."""
        structures = [*filter(is_structure, types)]
        mappings = [get_args(one) for one in types if get_origin(one) in MAPPINGS and get_args(one)]
        only = structures[0] if len(structures) == 1 and not tag_of(structures[0]) else None
        members: dict[type, Sequence[tuple[str, _Convert, type | None]]] = {}

        def convert(value: dict[str, object], is_json: bool) -> object:
            member, changed = (only, {}) if only is not None else chosen(structures, value)
            if member is not None:
                if member not in members:  # now, because a structure may contain itself
                    members[member] = self._members(member)
                for name, of_field, exact in members[member]:
                    part = value.get(name)
                    if part is not None and type(part) is not exact:
                        read = of_field(part, is_json)
                        if read is not part:
                            changed[name] = read
                return {**value, **changed} if changed else value
            return self._read_dict(mappings[0], value, is_json) if mappings else value

        return convert

    def _read_dict(self, hints: Sequence[Hint], value: dict[str, Any], is_json: bool) -> object:
        """Convert the keys and the values of an object."""
        key, inner = hints
        items = [
            (self.read(key, name, is_json), self.read(inner, one, is_json))
            for name, one in value.items()
        ]
        is_same = all(map(is_, chain(*items), chain(*value.items())))
        return value if is_same else dict(items)

    def _members(self, structure: type) -> Sequence[tuple[str, _Convert, type | None]]:
        """Return the fields of a structure whose values are converted."""
        found = (
            (name, *self._reader(field.hint))
            for field in fields_of(structure)
            for name in (field.name, *field.others)
        )
        return [(name, convert, exact) for name, convert, exact in found if convert is not None]

    def _array(self, types: Sequence[Hint]) -> _Convert:
        """Return the function that converts the elements of an array."""
        arrays = [found for found in map(elements_in, types) if found is not None]

        def convert(value: list[object], is_json: bool) -> object:
            for first, rest in arrays[:1]:
                readers = chain(map(self._reader, first), repeat(self._reader(rest)))
                elements = zip(value, readers, strict=False)
                read = [
                    part
                    if convert is None or part is None or type(part) is exact
                    else convert(part, is_json)
                    for part, (convert, exact) in elements
                ]
                return value if all(map(is_, read, value)) else read
            return value

        return convert

    def _scalar(self, types: Sequence[Hint]) -> tuple[Callable[[object], object], ...]:
        """Return the functions that convert a text and a value in JSON to one of the ``types``."""
        if Any in types or not any(map(self._is_read, types)):
            return as_it_is, as_it_is
        # all of them, because the text of a datetime may be that of a date
        kinds = [one for one in types if one in [*simple_types()] or self._is_read(one)]
        union: Hint = Union[tuple(kinds)]  # noqa: UP007 - may be one type
        converters = [converter_for(union, self._own)]
        if self._is_pydantics:  # which writes an Enum's values, whatever encoders there are
            converters.append(converter_for(union, self._own._replace(encoders={})))
        # pydantic takes only the members themselves for a Literal of them; msgspec refuses those of
        # some enumerations
        is_literal = self._is_pydantics and not any(map(is_enum, kinds))
        is_closed = not self._is_pydantics and any(
            is_enum(one) and self._own.encoder_of(one) is not None for one in kinds
        )

        def lenient(
            converts: Sequence[Callable[[Any], object]], problem: str
        ) -> Callable[[object], object]:
            fit, *others = converts
            if others:
                fit = partial(first_that_fits, converts)

            def read(value: object) -> object:
                try:
                    made = fit(value)
                    return made.value if isinstance(made, Enum) and not is_literal else made
                except ValueError:
                    if problem:
                        raise ValueError(problem) from None
                    return value

            return read

        # These would be accepted by msgspec: an Enum's value, and a Decimal with underscores.
        problem = "Invalid enum value" if is_closed else ""
        return (
            lenient(
                [one.from_text for one in converters],
                problem or ("Invalid decimal string" if Decimal in kinds else ""),
            ),
            lenient([one.from_json for one in converters], problem),
        )
