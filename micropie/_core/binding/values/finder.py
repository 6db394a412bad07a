"""Find the values in a document or in a handler's result whose annotations contain a certain type,
for the checks in ``limits.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import chain, repeat
from typing import Any, NamedTuple, get_args, get_origin

from micropie._core.binding.annotations import MAPPINGS, UNREADABLE, Hint
from micropie._core.binding.fields import (
    attributes_of,
    elements_in,
    fields_of,
    is_structure,
    kinds_in,
    layers_of,
)


class _Inside(NamedTuple):
    """The annotations of the parts of a value, without those that contain no wanted type."""

    hints: Sequence[Hint]
    """The value's own annotations, stored so that no other annotation gets their ids."""
    is_wanted: bool
    fields: Mapping[str, Sequence[Hint]]
    """By the name of a field."""
    keys: Sequence[Hint]
    """For the keys of a dict."""
    members: Sequence[Hint]
    """For the values of a dict."""
    elements: Sequence[Sequence[Hint]]
    """For the elements of an array. The last ones are also those of all further elements."""


# The greatest depth to which ``Finder`` follows a result. JSON has fewer levels.
_DEEPEST = 2000


class Finder:
    """Finds the values for whose annotations ``is_wanted`` returns True.

    ``hint``: the annotation of the whole value. A finder reads each annotation once, so use one
    finder for all values.
    """

    def __init__(self, hint: Hint, is_wanted: Callable[[object], bool]) -> None:
        self._hints = [hint]
        self._is_wanted = is_wanted
        self._known: dict[tuple[int, ...], _Inside] = {}

    def values_in(self, value: object) -> Iterator[object]:
        """Yield the wanted values inside a value, at any depth.

        Each value is visited once, with all annotations that it has in the members of unions.
        Otherwise, each level of a recursive union would double the time. A result may refer to
        itself.
        """
        waiting: list[tuple[object, Sequence[Hint], int]] = [(value, self._hints, 0)]
        seen: dict[tuple[int, ...], object] = {}  # keeps the values, so that each has its own id
        while waiting:
            value, hints, level = waiting.pop()
            ids = tuple(map(id, hints))
            inside = self._known.get(ids)
            if inside is None:
                inside = self._known[ids] = self._read(hints)
            if inside.is_wanted:
                yield value
            key = (id(value), *ids)
            if isinstance(value, str) or key in seen or level == _DEEPEST:
                continue
            seen[key] = value
            waiting += [
                (part, inner, level + 1)
                for part, inner in _parts_of(value, inside)
                if inner and not isinstance(part, int | float | None)
            ]

    def _read(self, hints: Sequence[Hint]) -> _Inside:
        """Return the annotations inside a value. ``hints``: the annotations of the value."""
        kinds = [*chain.from_iterable(map(layers_of, hints))]
        fields: dict[str, list[Hint]] = {}
        for kind in filter(is_structure, kinds):
            named = {field.name: field.hint for field in fields_of(kind)}
            for name, hint in {**named, **attributes_of(kind)}.items():  # an alias is a name, too
                fields.setdefault(name, []).append(hint)
        dicts = [get_args(kind) for kind in kinds if get_origin(kind) in MAPPINGS]
        arrays = [elements_in(kind) or ((), Any) for kind in kinds]
        longest = max(len(first) for first, _ in arrays)
        return _Inside(
            hints,
            any(map(self._is_wanted, kinds)),
            {name: useful for name in fields if (useful := self._useful(fields[name]))},
            self._useful(one[0] for one in dicts if one),
            self._useful(one[-1] for one in dicts if one),
            [
                self._useful(first[i] if i < len(first) else rest for first, rest in arrays)
                for i in range(longest + 1)
            ],
        )

    def _useful(self, hints: Iterable[Hint]) -> Sequence[Hint]:
        """Return the annotations that contain a wanted type, each once."""
        found: list[Hint] = []  # not a set, because metadata of ``Annotated`` may not be hashable
        for hint in hints:
            if hint not in found and any(map(self._is_wanted, kinds_in(hint))):
                found.append(hint)
        return found


def finder_for(hint: Hint, is_wanted: Callable[[object], bool]) -> Finder | None:
    """Return the finder for an annotation, or None if the annotation contains no wanted type."""
    # A result may contain classes that msgspec can't read, because pydantic sends them.
    with suppress(ImportError, *UNREADABLE):
        if any(map(is_wanted, kinds_in(hint))):
            return Finder(hint, is_wanted)
    return None


def _parts_of(value: object, inside: _Inside) -> Iterator[tuple[object, Sequence[Hint]]]:
    """Yield the values directly inside a value, each with its annotations."""
    row = as_dict(value)
    if isinstance(row, dict):
        yield from ((row[name], inside.fields[name]) for name in inside.fields if name in row)
        yield from zip(row, repeat(inside.keys)) if inside.keys else ()
        yield from zip(row.values(), repeat(inside.members)) if inside.members else ()
    if isinstance(value, list | tuple):
        if any(inside.elements):
            hints = chain(inside.elements, repeat(inside.elements[-1]))
            yield from zip(value, hints, strict=False)
    elif row is value and not isinstance(row, dict):
        yield from ((_get(value, name), inner) for name, inner in inside.fields.items())


def as_dict(value: Any) -> object:
    """Return a mapping or the row of a database, such as a named tuple, as a dict. Return any other
    value unchanged.
    """
    kind = type(value)
    if kind in (dict, list) or is_structure(kind):
        return value
    if hasattr(kind, "_asdict"):
        return kind._asdict(value)
    is_row = callable(getattr(kind, "keys", None)) and hasattr(kind, "__getitem__")
    return dict(value) if is_row else value


def _get(owner: object, name: str) -> object:
    """Return an attribute of a handler's result, or None if there is none."""
    try:
        return getattr(owner, name, None)
    except Exception:  # raised by a property, which the library may not need
        return None
