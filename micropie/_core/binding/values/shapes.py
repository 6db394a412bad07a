"""Check all values inside of a structure by its annotation, with one pass over the values of each
attribute.

A ``Shape`` is compiled once for each annotation. It visits only those attributes and elements that
may contain a structure or a number that needs a check. Reading one attribute of all objects at once
takes a tenth of the time of looking at each object.
"""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence, Set
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import cached_property
from itertools import chain
from math import isfinite
from operator import attrgetter, itemgetter
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, NewType, Union, get_args, get_origin
from uuid import UUID

from micropie._core.binding.annotations import UNREADABLE, Hint, bare, is_enum, owner_of, united
from micropie._core.binding.fields import (
    attributes_of,
    collection_of,
    has_fields,
    hints_of_class,
    is_named_tuple,
    is_structure,
    is_typed_dict,
    kinds_in,
    written_kinds,
)
from micropie._core.binding.values.constraints import are_moderate

_Check = Callable[[Sequence[Any]], bool]
_Level = dict["Shape", list[object]]

# Attributes of these types are not visited.
_ATOMS = {str, int, bool, NoneType}
_PYDANTICS = {date, datetime, UUID}  # nor are those in pydantic models
_CONTAINERS = {list, tuple, set, frozenset, dict}
_MINUTE = timedelta(minutes=1)


def _in_minutes(values: Sequence[datetime]) -> bool:
    """Return whether all offsets from UTC are whole minutes, because orjson rounds all others."""
    offsets = (one.utcoffset() for one in values if one.tzinfo not in (None, UTC))
    return not any(one % _MINUTE for one in offsets if one is not None)


_CHECKS: Mapping[type, _Check] = {
    # a finite sum has only finite parts, and takes a third of the time
    float: lambda values: isfinite(sum(values)) or all(map(isfinite, values)),
    Decimal: are_moderate,
    datetime: _in_minutes,
}
_ALWAYS: Sequence[_Check] = (lambda _: False, lambda _: True)
FORMS = (Annotated, Union, UnionType, Literal)


# The most levels of values in values. JSON has fewer.
_MOST_LEVELS = 400

# How many values of recursive types may be looked at before those that were seen are left out,
# which takes twice as long as to look at them.
_MOST_REPEATED = 10_000


class Shape:
    """The types that an annotation allows for a value and for the values inside it.

    - ``hint``: the annotation.
    - ``is_strict``: whether a value that may have more fields than its annotation declares is an
      error. pydantic sends only the declared fields of such a value.
    - ``known``: the shapes of the annotations around this one, which may contain themselves.
    """

    def __init__(self, hint: Hint, is_strict: bool, known: list[Shape] | None = None) -> None:
        self._hint, self.is_strict = hint, is_strict
        self._known = [] if known is None else known
        kinds = [bare(hint)[0]]
        for kind in kinds:  # a union may be in an ``Annotated`` in a union
            kinds += [bare(one)[0] for one in united(kind) if one is not kind]
        one_by_one = (kind for kind in kinds if len(united(kind)) == 1)
        self._types = [_Type(kind, self) for kind in one_by_one if kind is not NoneType]
        inside = written_kinds(hint) if is_strict else ()
        self._options = _Options(self._options_for)
        self._structures = [one.__name__ for one in inside if has_fields(one)]
        self._known.append(self)  # last, because other threads use it from now on

    def of(self, hint: Hint) -> Shape | None:
        """Return the shape of an annotation inside this one, or None if its values need no
        check.
        """
        kinds = written_kinds if self.is_strict else kinds_in
        with suppress(ImportError, *UNREADABLE):  # msgspec can't read all structures
            if not any(map(self._is_checked, kinds(hint))):
                return None
        found = (one for one in self._known if one._hint == hint)
        return next(found, None) or Shape(hint, self.is_strict, self._known)

    def _is_checked(self, kind: object) -> bool:
        origin = get_origin(kind)
        if has_fields(kind):
            return self.is_strict or self._known[0] is self
        if origin in FORMS or is_enum(kind) or isinstance(kind, NewType) or kind in (None, ...):
            return False
        if origin is not None:
            return origin not in _CONTAINERS
        return kind not in {*_ATOMS, bytes} and (self.is_strict or kind not in _PYDANTICS)

    def is_plain(self, value: object) -> bool:
        """Return whether a value and everything inside it have exactly the declared classes, and
        all numbers inside it are finite and no Decimal has too many digits. A value that contains
        itself, or goes too deep, isn't plain.

        Raises ``TypeError`` if ``is_strict`` and an object may have more fields than declared.
        """
        level: _Level = {self: [value]}
        seen: dict[Shape, dict[int, object]] = {}  # because an object may contain itself
        is_plain, repeated = True, 0
        for _ in range(_MOST_LEVELS):
            inside: _Level = {}
            for shape, values in level.items():
                if shape not in seen:
                    seen[shape] = {}
                elif (repeated := repeated + len(values)) > _MOST_REPEATED:
                    fresh = dict(zip(map(id, values), values, strict=True))
                    values = [fresh[one] for one in fresh.keys() - seen[shape]]
                    seen[shape] |= fresh
                if not shape._check(values, inside):
                    is_plain = False
            if not inside:
                return is_plain
            level = inside
        return False

    def _check(self, values: Sequence[object], inside: _Level) -> bool:
        """Check values of this annotation, and add what is inside them to ``inside``."""
        is_plain, kinds = True, {*map(type, values)}
        for kind in kinds:
            if kind in _ATOMS:
                continue
            rest = values if len(kinds) == 1 else [one for one in values if type(one) is kind]
            for names, check, parts in self._options[kind]:
                taken: Sequence[Any] = rest
                rest = ()
                if names is not None:
                    rest = [one for one in taken if not names >= one.keys()]
                    taken = [one for one in taken if names >= one.keys()] if rest else taken
                if not check(taken):
                    is_plain = False
                for collect, shape in parts:
                    if shape in inside:
                        inside[shape] += collect(taken)
                    else:
                        inside[shape] = collect(taken)
            if rest:
                is_plain = False
                self._refuse(kind)
        return is_plain

    def _refuse(self, kind: type) -> None:
        """Raise ``TypeError`` for a value of a class that is not declared, if it may have fields
        that the declared classes don't have.
        """
        if self._structures and not issubclass(kind, str | int | float):
            raise TypeError(
                f"it has a {kind.__name__} where the annotation declares "
                + " | ".join(self._structures)
            )

    def _options_for(self, kind: type) -> Sequence[_Option]:
        """Return the types of the annotation that values of a class may have. The last one takes
        all values, unless it is a TypedDict.
        """
        options: list[_Option] = []
        for one in self._types_for(kind):
            option = one.option_for(kind)
            if option is not None:
                options.append(option)
                if option[0] is None:
                    break
        return options

    def _types_for(self, kind: type) -> Sequence[_Type]:
        """Return the types of the annotation in the order in which they take values of a class.
        Collections, or dicts, that may all have this class become one, because such a value doesn't
        show of which of them it is: ``Collection[A | B]`` for ``list[A] | Sequence[B]``.
        """
        exact = [one for one in self._types if one.is_of(kind)]
        found = [] if exact else [(one, one.inside(kind)) for one in self._types]
        rivals = [hints for _, hints in found if hints]
        if len(rivals) < 2:
            return [*exact, *self._types]
        places = (0, -1) if issubclass(kind, Mapping) else ()
        parts = [[one[place] for one in rivals] for place in places] or [[*chain(*rivals)]]
        owner: Any = Mapping if places else Collection
        merged: Hint = owner[tuple(Union[tuple(one)] for one in parts)]  # noqa: UP007
        return [*(one for one, hints in found if not hints), _Type(merged, self)]


class _Type:
    """One of the types of an annotation, which may be a union."""

    def __init__(self, kind: Hint, shape: Shape) -> None:
        self._kind, self._owner, self._shape = kind, owner_of(kind), shape
        self._is_row = is_named_tuple(kind)

    @cached_property
    def _arguments(self) -> tuple[Hint, ...]:
        if self._is_row:
            return (*hints_of_class(self._kind).values(),)
        return get_args(collection_of(self._kind))

    def is_of(self, kind: type) -> bool:
        """Return whether this type is the class ``kind`` itself, and no built-in collection."""
        return self._owner is kind and kind not in _CONTAINERS

    def inside(self, kind: type) -> Sequence[Hint]:
        """Return the types of the elements that a collection of the class ``kind`` may have by this
        type, or those of the keys and values of a dict. Return () if it isn't of this type.
        """
        owner = tuple if self._is_row else self._owner
        is_taken = isinstance(owner, type) and not is_structure(owner) and issubclass(kind, owner)
        return [one for one in self._arguments if one is not ...] if is_taken else ()

    def option_for(self, kind: type) -> _Option | None:
        """Return None if values of the class ``kind`` are not of this type. Otherwise return how
        they are checked:

        - the only keys that they may have, for a TypedDict
        - a function that returns whether these values are written as the annotation says, if what
          is inside them is
        - for each part that is checked, the function that returns it for several values, and the
          shape of the part
        """
        owner, arguments = self._owner, self._arguments
        if is_typed_dict(owner):
            hints = hints_of_class(self._kind)
            is_taken = issubclass(kind, dict)
            return (hints.keys(), _ALWAYS[1], self._parts(_items, hints)) if is_taken else None
        if is_structure(self._kind):
            if kind is not owner:
                return None
            # if it sends no other fields than declared, pydantic itself does so inside of a model
            is_visited = not (self._shape.is_strict and hasattr(owner, "model_fields"))
            attributes = attributes_of(self._kind) if is_visited else {}
            return None, _completeness(kind), self._parts(_attributes, attributes)
        if self._is_row or (owner is tuple and arguments[-1:] != (...,)):
            parts = self._parts(_positions, dict(enumerate(arguments)))
            return (None, _ALWAYS[bool(arguments)], parts) if issubclass(kind, tuple) else None
        if owner is not Any and not (isinstance(owner, type) and issubclass(kind, owner)):
            return None
        if arguments:
            named: dict[object, Hint] = {}
            if issubclass(kind, Mapping):
                named = {None: arguments[0], kind.values: arguments[-1]}
            elif issubclass(kind, Iterable):
                named = {None: arguments[0]}
            return None, _ALWAYS[kind in _CONTAINERS], self._parts(_elements, named)
        is_exact = kind is owner and kind not in _CONTAINERS
        may_contain = issubclass(kind, Mapping | list | tuple | Set | float | Decimal)
        is_foreign = not (self._shape.is_strict or may_contain or is_structure(kind))
        is_closed = is_exact or is_enum(owner) or is_foreign
        return None, _CHECKS.get(kind, _ALWAYS[is_closed]) if is_exact else _ALWAYS[is_closed], ()

    def _parts(self, collector: Callable[[Any], _Collect], hints: Mapping[Any, Hint]) -> _Parts:
        shapes = ((collector(name), self._shape.of(hint)) for name, hint in hints.items())
        return [(collect, shape) for collect, shape in shapes if shape is not None]


class _Options(dict[type, "Sequence[_Option]"]):
    """The options for each class of values, which ``find`` returns."""

    def __init__(self, find: Callable[[type], Sequence[_Option]]) -> None:
        self._find = find

    def __missing__(self, kind: type) -> Sequence[_Option]:
        self[kind] = found = self._find(kind)
        return found


_Collect = Callable[[Sequence[Any]], list[object]]  # makes a new list
_Parts = Sequence[tuple[_Collect, Shape]]
_Option = tuple[Set[str] | None, _Check, _Parts]


def _completeness(kind: type) -> _Check:
    """Return a function that returns whether objects of a class themselves have all attributes that
    have defaults. A dataclass that msgspec has created leaves them to its class, where msgspec's
    encoder doesn't look.
    """
    fields = dataclasses.fields(kind) if dataclasses.is_dataclass(kind) else ()
    names = [one.name for one in fields if one.default is not dataclasses.MISSING]
    if not names or not kind.__dictoffset__:
        return _ALWAYS[1]
    get = itemgetter(*names)

    def is_complete(values: Sequence[object]) -> bool:
        with suppress(KeyError):
            deque(map(get, map(vars, values)), maxlen=0)
            return True
        return False

    return is_complete


def _attributes(name: str) -> _Collect:
    get = attrgetter(name)
    return lambda values: [*map(get, values)]


def _items(name: str) -> _Collect:
    return lambda values: [one[name] for one in values if name in one]


def _positions(index: int) -> _Collect:
    return lambda values: [one[index] for one in values if index < len(one)]


def _elements(part: Callable[[Any], Iterable[object]] | None) -> _Collect:
    """Return a function for the elements of collections or, with ``part``, for those of ``part`` of
    each collection.
    """
    return lambda values: [*chain.from_iterable(values if part is None else map(part, values))]
