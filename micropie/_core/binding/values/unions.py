"""Reject unions of pydantic models whose validation takes exponential time.

pydantic tries each member of a union without a discriminator. If two members may contain the union
again at the same place of a document, then each level of nesting doubles the time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from functools import lru_cache
from itertools import chain, combinations, product, zip_longest
from typing import NamedTuple, get_args, get_origin

from micropie._core.binding.annotations import (
    COLLECTIONS,
    MAPPINGS,
    Hint,
    bare,
    metadata_of,
    united,
)
from micropie._core.binding.fields import (
    Field,
    fields_of,
    has_fields,
    hints_inside,
    is_named_tuple,
    is_structure,
    root_of,
    written_kinds,
)
from micropie._core.errors import SetupError


class Place(NamedTuple):
    """A place in a document at which a value of some type may contain a structure again.

    - ``name``: the name of a field, or "[]" or "{}" for any element of an array or an object.
    - ``kind``: "[]" or "{}" if the value there has to be an array or an object.
    """

    name: str
    kind: str

    def meets(self, other: Place) -> bool:
        """Return whether a value can be at both places."""
        names = {self.name, other.name}
        return self.kind == other.kind and (
            len(names) == 1 or ("{}" in names and "[]" not in names)
        )


def check_unions(kinds: Iterable[object], about: str) -> None:
    """Raise ``SetupError`` for a union that several of its members contain again at the same place.

    ``kinds``: all types in a structure. ``about``: the beginning of the message.
    """
    recursive = recursive_in(kinds)
    for owner in filter(is_structure, recursive):
        around = recursive[owner]
        stated = getattr(owner, "model_fields", {}).values()
        for field, info in zip_longest(fields_of(owner), stated):
            for union in _untagged_unions(field, info):
                places = [{*_places_of(around, one)} for one in united(union)]
                pairs = combinations(places, 2)
                if any(Place.meets(*pair) for one, other in pairs for pair in product(one, other)):
                    raise SetupError(
                        f"{about}, but validating {owner.__name__}.{field.name} takes twice as "
                        "long for each level of nesting, because pydantic tries several members "
                        "of its union: add Field(discriminator=...), or leave one member out"
                    )


def recursive_in(kinds: Iterable[object]) -> Mapping[type, Set[object]]:
    """Return the structures and the named tuples that contain themselves, each with all types that
    contain it.
    """
    parents: dict[object, list[object]] = {}  # the types whose fields contain a type
    nodes = dict.fromkeys(filter(has_fields, kinds))
    for kind in nodes:
        for inner in _inside(kind):
            parents.setdefault(inner, []).append(kind)
    around = {kind: _containing(kind, parents) for kind in nodes}
    return {kind: outer for kind, outer in around.items() if kind in outer}


@lru_cache(maxsize=256)  # many handlers share a model
def _inside(kind: type) -> Sequence[type]:
    """Return the structures and the named tuples that the fields of ``kind`` contain."""
    kinds = chain.from_iterable(map(written_kinds, hints_inside(kind)))
    return [*dict.fromkeys(filter(has_fields, kinds))]


def _containing(owner: object, parents: Mapping[object, Sequence[object]]) -> Set[object]:
    """Return the types that contain ``owner``, at any depth. If ``owner`` is recursive, it is one
    of them.
    """
    around, waiting = set[object](), [owner]
    while waiting:
        outer = {*parents.get(waiting.pop(), ())} - around
        around |= outer
        waiting.extend(outer)
    return around


def _untagged_unions(field: Field, info: object) -> Iterator[Hint]:
    """Yield the unions in a field's annotation that have no discriminator.

    ``info``: pydantic's object for a field of a model, or None.
    """
    kinds = written_kinds(field.hint)
    unions = [kind for kind in kinds if len(united(kind)) > 1]
    tagged = unions[:1] if getattr(info, "discriminator", None) is not None else []
    for kind in kinds:
        marks = metadata_of(kind)
        if any(getattr(one, "discriminator", None) is not None for one in marks):
            tagged.append(get_args(kind)[0])
    return (kind for kind in unions if kind not in tagged)


def _places_of(around: Set[object], member: Hint) -> Iterator[Place]:
    """Yield the places at which a value of a union's member may contain one of ``around``."""
    root = root_of(member)
    kind, _ = bare(root)
    origin = get_origin(kind)
    if root is not member:
        for one in united(kind):
            yield from _places_of(around, one)
    elif is_structure(kind):
        for field in fields_of(kind):
            yield from (Place(field.name, one) for one in _kinds_of(around, field.hint))
    elif origin in COLLECTIONS or is_named_tuple(kind):
        hints = get_args(kind) or hints_inside(kind)
        yield from (Place("[]", one) for hint in hints for one in _kinds_of(around, hint))
    elif origin in MAPPINGS:
        yield from (Place("{}", one) for one in _kinds_of(around, get_args(kind)[-1]))


def _kinds_of(around: Set[object], hint: Hint) -> Iterator[str]:
    """Yield "[]" or "{}" for each member of an annotation's union that contains one of ``around``.
    It is "[]" if a value of that member has to be an array.
    """
    for kind in united(bare(hint)[0]):
        if not around.isdisjoint(filter(has_fields, written_kinds(kind))):
            inner, _ = bare(kind)
            is_array = get_origin(inner) in COLLECTIONS or is_named_tuple(inner)
            yield "[]" if is_array else "{}"
