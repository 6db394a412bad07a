"""Reduce a handler's result to the fields of its annotation. In a union, the class of the value
decides, alone and in any collection or dict.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from itertools import count, repeat
from typing import Any, Protocol, get_args

from micropie._core.binding.annotations import (
    COLLECTIONS,
    MAPPINGS,
    Hint,
    bare,
    owner_of,
    type_name,
    united,
)
from micropie._core.binding.fields import (
    hints_of_class,
    is_named_tuple,
    is_structure,
    is_typed_dict,
    members_of,
    structure_name,
)
from micropie._core.http import sent_as


class Library(Protocol):
    """What msgspec and pydantic do for a ``Reducer``.

    - ``is_pydantic``: whether it is pydantic.
    """

    is_pydantic: bool = False

    def picks(self, union: Hint) -> bool:
        """Return whether the library itself uses the nearest class of a union."""

    def reads_safely(self, hint: Hint) -> bool:
        """Return whether the library reads an annotation, and refuses the objects for which it
        wouldn't use the nearest class.
        """
        return False

    def dumped(self, value: object, kind: Hint) -> object:
        """Return a value with only the fields of ``kind``."""


class Reducer:
    """A function that returns values with only the fields that one annotation declares.

    - ``hint``: the annotation.
    - ``is_plain``: whether the library itself does so for all values.
    - ``around``: the types that contain this annotation. A named tuple that contains itself is left
      to the library.
    """

    is_plain: bool

    def __init__(self, hint: Hint, library: Library, around: tuple[Hint, ...] = ()) -> None:
        self._hint, self._library = hint, library
        self._kind, self._is_optional = bare(hint)
        self._is_union = len(united(self._kind)) > 1
        inside = () if self._kind in around else _inside(self._kind)
        self._inner = [Reducer(one, library, (*around, self._kind)) for one in inside]
        is_picked = not self._is_union or library.picks(self._kind)
        self.is_plain = is_picked and all(one.is_plain for one in self._inner)
        is_chosen_inside = not (self._is_union or self.is_plain)
        self._is_read_first = is_chosen_inside and library.reads_safely(hint)
        owners = [owner_of(one._kind) for one in self._inner]
        # The values of a TypedDict are dicts, which don't show of which TypedDict they are.
        dicts = [*filter(is_typed_dict, owners)]
        self._owners = [dict if [one] == dicts else one for one in owners]
        self._choices: dict[type, Sequence[Callable[[object], object]]] = {}
        # Objects of these classes, but not those of subclasses, have no other fields.
        self._exact = set() if library.is_pydantic else {*filter(is_structure, owners)}

    def __call__(self, value: object) -> object:
        """Return a value with only the declared fields. Raises ``ValueError`` or ``TypeError`` for
        a value that doesn't match the annotation.
        """
        if self.is_plain:
            return self._library.dumped(value, self._hint)
        if value is None and self._is_optional:
            return None
        return self._of_member(value) if self._is_union else self._with_elements(value)

    def _of_member(self, value: object) -> object:
        """Return the value of a union, reduced to the fields of the member with the value's class
        or its nearest base. If there is none, the library chooses, by a tag for example, or else,
        unless all members are structures, the first member that accepts the value.
        """
        kind = type(value)
        if kind in self._exact:
            return value
        if kind not in self._choices:
            self._choices[kind] = self._choices_for(kind)
        choices = self._choices[kind]
        for reduced in choices:
            with suppress(ValueError, TypeError):
                return reduced(value)
        try:
            return choices[0](value)  # raises its error again
        except TypeError:  # msgspec can't read the union
            raise ValueError(
                f"Expected `{structure_name(self._kind)}`, or another type that the annotation "
                "lists"
            ) from None

    def _choices_for(self, kind: type) -> Sequence[Callable[[object], object]]:
        """Return the functions that may reduce objects of a class, the best one first."""
        classes = kind.__mro__
        pairs = [one for one in zip(self._owners, self._inner, strict=True) if one[0] in classes]
        pairs.sort(key=lambda one: classes.index(one[0]))
        nearest = [member for _, member in pairs]
        if members_of(self._kind):
            return nearest or [self._by_library]
        # pydantic may send all fields of a subclass's object in a collection of a union
        is_nest = any(one._inner for one in self._inner)
        return [*nearest, *([] if is_nest else [self._by_library]), *self._inner]

    def _by_library(self, value: object) -> object:
        return self._library.dumped(value, self._hint)

    @cached_property
    def _places(self) -> Hint:
        """The type of a dict with the same keys, and an int for each."""
        owner: Any = dict
        return owner[get_args(self._kind)[0], int]

    def _with_elements(self, value: object) -> object:
        """Return a collection or a dict with each of its values reduced."""
        if self._is_read_first:
            with suppress(ValueError):
                return self._by_library(value)  # takes a tenth of the time
        owner, made = owner_of(self._kind), list[object]()
        is_row = is_named_tuple(self._kind)
        is_fixed = is_row or (owner is tuple and get_args(self._kind)[-1] is not ...)
        if (
            not isinstance(value, Collection)
            or sent_as(type(value)) != "json"
            or isinstance(value, Mapping) != (owner in MAPPINGS)
            or (is_fixed and len(value) != len(self._inner))
        ):
            raise ValueError(f"Expected `{type_name(self._kind)}`, got `{type(value).__name__}`")
        values = value.values() if isinstance(value, Mapping) else value
        each = self._inner if is_fixed else repeat(self._inner[0])
        for reduced, one in zip(each, values, strict=False):
            try:
                made.append(reduced(one))
            except ValueError as error:
                if self._library.is_pydantic:
                    return self._by_library(value)  # raises an error with the path
                step = f"[{len(made)}]" if values is value else "[...]"
                text, at, path = str(error).rpartition(" - at `$")  # as msgspec writes it
                message = f"{text}{at}{step}{path}" if at else f"{error} - at `${step}`"
                raise ValueError(message) from None
        if isinstance(value, Mapping):
            if not self._library.is_pydantic:
                return dict(zip(value, made, strict=True))
            # pydantic has its own texts for keys such as a datetime
            numbered = dict(zip(value, count(), strict=False))
            places: Any = self._library.dumped(numbered, self._places)
            return {key: made[place] for key, place in places.items()}
        # pydantic has made dicts of the objects, and a set can't contain these
        if owner is Sequence or (self._library.is_pydantic and owner in (set, frozenset)):
            return made
        return owner(*made) if is_row else owner(made)


def _inside(kind: Hint) -> Sequence[Hint]:
    """Return the members of a union, the types of the elements of a collection or a named tuple,
    or that of a dict's values. Return () for any other type.
    """
    members = united(kind)
    if len(members) > 1:
        return members
    if is_named_tuple(kind):
        return [*hints_of_class(kind).values()]
    arguments = get_args(kind)
    if owner_of(kind) in MAPPINGS:
        return arguments[-1:]
    return [one for one in arguments if one is not ...] if owner_of(kind) in COLLECTIONS else ()
