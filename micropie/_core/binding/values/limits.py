"""Check structures (dataclasses, models, ...) and the values that clients send for them.

At startup, reject a structure with a field that a client can't set or must not set. Also reject a
structure with a constraint that would be ignored: msgspec ignores pydantic's constraints, and
pydantic ignores msgspec's.

For each request, reject values that msgspec and pydantic accept but parameters don't: NaN, numbers
with a million digits, and sets of numbers that a client has chosen to have the same hash.
"""

from __future__ import annotations

import enum
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from itertools import chain
from typing import Any, TypeAlias, get_args

from micropie._core.binding.annotations import (
    Hint,
    built_in,
    is_enum,
    is_of_pydantic,
    metadata_of,
    owner_of,
    remembered,
    takes_json_text,
)
from micropie._core.binding.fields import (
    fields_of,
    hints_inside,
    is_pydantic,
    is_structure,
    is_typed_dict,
    kinds_in,
    names_of,
    structures_of,
    written_kinds,
)
from micropie._core.binding.values.constraints import (
    MAX_EXPONENT,
    MAX_HASHED,
    MOST_MATCHED,
    is_moderate,
    restricts,
)
from micropie._core.binding.values.finder import Finder
from micropie._core.binding.values.unions import check_unions, recursive_in
from micropie._core.errors import SetupError
from micropie._core.http.forms import UploadFile
from micropie._core.http.json import check_client_values, declared_fields

# The bytes that pydantic may store for the paths to the values of a document. Each step of a path
# takes ``_STEP`` bytes and its key. The first ``_FREE_PATH`` bytes of a path don't count.
_MOST_STORED, _STEP, _FREE_PATH = 50_000_000, 32, 300


# -- checks of a structure's class, at startup -----------------------------------------------------


@remembered
def check_fields(hint: Hint, is_pydantic: bool, name: str) -> None:
    """Raise ``SetupError`` for a field that a body must not set, and for a constraint that would be
    ignored when msgspec or pydantic creates the structure.

    - ``is_pydantic``: True if pydantic creates the structure, False if msgspec does.
    - ``name``: the name of the structure.
    """
    kinds, about = kinds_in(hint), f"it is a {name}"
    origins = [*map(owner_of, kinds)]
    for kind, reason in _refused_types().items():
        if kind in origins:
            raise SetupError(f"{about} {reason}")
    _check_pydantics(kinds, about)
    for kind in filter(is_enum, kinds):
        if vars(kind).get("_boundary_") is enum.KEEP:
            raise SetupError(
                f"{about} with a {kind.__name__}, of which a client can create any number of "
                f"members that stay in memory: write class {kind.__name__}(..., boundary=STRICT)"
            )
    sets = [kind for kind in kinds if built_in(kind) in (set, frozenset)]
    for one in chain.from_iterable(map(structures_of, sets)):
        if not _can_be_hashed(one):
            raise SetupError(
                f"{about} with a set of {one.__name__}, whose objects can't be hashed: make that "
                "class frozen=True, or write a list"
            )
    if is_pydantic:
        check_unions(kinds, about)
    else:
        _check_init(kinds, about)
    _check_constraints(filter(is_structure, kinds), is_pydantic, about)


def _check_pydantics(kinds: Sequence[object], about: str) -> None:
    """Raise ``SetupError`` for a type of pydantic that no field may have."""
    marks = [*kinds, *chain.from_iterable(map(metadata_of, kinds))]
    if any(is_of_pydantic(one, "ImportString") for one in marks):
        raise SetupError(
            f"{about} with an ImportString, which lets a client import anything: write "
            "Literal[...] with the names a client may send"
        )
    hints = chain(kinds[:1], *map(hints_inside, kinds))
    if any(is_of_pydantic(one, "BaseModel") for one in chain(*map(structures_of, hints))):
        raise SetupError(
            f"{about} with pydantic's BaseModel, which has no fields: write the class of a model"
        )
    texts = filter(takes_json_text, kinds)
    if any(map(has_chosen_hashes, chain.from_iterable(map(kinds_in, texts)))):
        raise SetupError(
            f"{about} with pydantic's Json[set[...]], or Json[dict[...]] with keys that are "
            "not str: the size of such a set or dict can't be limited, so write Json[list[...]]"
        )


def _refused_types() -> Mapping[object, str]:
    """Return the types that no field may have, each with the reason and what to write instead."""
    from fractions import Fraction  # imported only by applications with structures

    return {
        UploadFile: (
            "that contains an UploadFile, but a file needs its own parameter: add one, such as "
            "photo: UploadFile"
        ),
        Fraction: 'with a Fraction, whose parsing takes minutes for "1e99999999": use a Decimal',
        re.Pattern: (
            "with a Pattern, but a client could send one whose matching never ends: write str, "
            "and use `in` to search for it"
        ),
    }


def _check_init(kinds: Sequence[object], about: str) -> None:
    """Raise ``SetupError`` for a field with ``init=False`` or with a converter, because msgspec
    doesn't call the class's own ``__init__``, which treats such a field differently.
    """
    for kind in kinds:
        owner = owner_of(kind)
        for field in declared_fields(owner):
            name = f"{getattr(owner, '__name__', '')}.{field.name}"
            if not field.init:  # msgspec would set it from the body
                raise SetupError(
                    f"{about}, but a body must not set {name}, which has init=False: write a "
                    "class with only the fields that a body may set, or make the field a property"
                )
            if getattr(field, "converter", None) is not None:
                raise SetupError(
                    f"{about}, but msgspec doesn't call the converter of {name}: leave "
                    "the converter out, or convert the value in __attrs_post_init__"
                )


def _can_be_hashed(structure: type) -> bool:
    config = getattr(structure, "__struct_config__", None)
    if config is not None:
        return bool(config.frozen or not config.eq)
    owner = owner_of(structure)
    return not is_typed_dict(owner) and owner.__hash__ is not None


def _check_constraints(structures: Iterable[type], is_pydantic: bool, about: str) -> None:
    """Raise ``SetupError`` for a constraint that would be ignored, because its field would then
    accept every value.

    ``is_pydantic``: True if pydantic creates the structures, False if msgspec does.
    """
    known, unknown, advice = (
        ("pydantic", ("msgspec",), "pydantic.Field(...), or a type such as AwareDatetime")
        if is_pydantic
        else (
            "msgspec",
            ("annotated_types", "pydantic"),
            "msgspec.Meta(...) instead, or use a pydantic model",
        )
    )
    stated = [
        (item, f"{owner.__name__}.{field.name}")
        for owner in structures
        for field in fields_of(owner)
        for part in written_kinds(field.hint)
        for item in metadata_of(part)
    ]
    for item, name in stated:
        step = getattr(item, "multiple_of", None)
        if not is_pydantic and isinstance(step, float) and not (step * 1024).is_integer():
            raise SetupError(
                f"{about}, but msgspec refuses most multiples of {step} for {name}, because it "
                "computes with binary fractions: use a pydantic model, or an int"
            )
        if not (restricts(item, unknown) or (is_pydantic and type(item).__name__ == "Timezone")):
            continue
        # pydantic's Field returns a FieldInfo
        constraint = type(item).__name__.removesuffix("Info")
        raise SetupError(
            f"{about}, but {known} doesn't check the constraint {constraint} of {name}: "
            f"write {advice}"
        )


def has_chosen_hashes(kind: object) -> bool:
    """Return whether a type is a set or a dict in which hashes may collide, because a client
    chooses the elements or the keys. Strings and enum members are safe.
    """
    origin = owner_of(kind)
    if (
        not isinstance(origin, type)
        or is_structure(origin)
        or not issubclass(origin, Set | Mapping)
    ):
        return False
    default = Any if issubclass(origin, Set) else str
    element, *_ = get_args(kind) or (default,)
    return element is not str and not is_enum(element)


def has_long_matches(kind: object) -> bool:
    """Return whether a type is a string that msgspec matches against a regular expression, however
    long it is.
    """
    marks = metadata_of(kind)
    limits = [getattr(one, "max_length", None) for one in marks]
    return any(getattr(one, "pattern", None) is not None for one in marks) and not any(
        limit is not None and limit <= MOST_MATCHED for limit in limits
    )


def has_long_paths(kinds: Iterable[object]) -> bool:
    """Return whether a client can choose long paths to many values, by the keys of a dict or by
    nesting.
    """
    for kind in kinds:
        owner = owner_of(kind)
        if isinstance(owner, type) and issubclass(owner, Mapping) and get_args(kind):
            inside = written_kinds(get_args(kind)[-1])
            if len(inside) > 1 or any(map(is_structure, inside)):
                return True
    return bool(recursive_in(kinds))


# -- checks of a document and of the structure created from it -------------------------------------


class PathError(ValueError):
    """Raised for an invalid value. ``path``: the names, keys and indexes that lead to it."""

    def __init__(self, path: Sequence[str | int], sentence: str) -> None:
        super().__init__(sentence)
        self.path = tuple(path)


class SizeError(PathError):
    """Raised for an array or an object of more than ``MAX_HASHED`` values."""


def check_sizes(document: object, is_list: bool) -> None:
    """Raise ``SizeError`` if an array or an object in the document has more than ``MAX_HASHED``
    values, because such an array or object may become a set or dict whose hashes collide.

    ``is_list``: whether the document is a list of structures. That list itself may have any length.
    """
    value: Any
    for value in _values_in(document):
        is_large = isinstance(value, list | dict) and len(value) > MAX_HASHED
        if is_large and not (is_list and value is document):
            text = f"Expected at most {MAX_HASHED} values in an array or object"
            waiting: list[_Found] = [("", None, document)]
            while (found := waiting.pop())[2] is not value:
                parts = _parts_of(found[2])
                waiting += [(key, found, one) for key, one in parts if isinstance(one, list | dict)]
            raise SizeError(_steps_to(found), text)


# A value, after its key or index and the same about what contains it. A path for each value would
# take very much memory in a document with many levels.
_Found: TypeAlias = "tuple[str | int, _Found | None, object]"


def _steps_to(found: _Found) -> tuple[str | int, ...]:
    """Return the names, keys and indexes that lead to a value."""
    path: tuple[str | int, ...] = ()
    step, outer, _ = found
    while outer is not None:
        path = (step, *path)
        step, outer, _ = outer
    return path


def check_paths(document: object) -> None:
    """Raise ``ValueError`` for a document of which pydantic might take very much memory for errors,
    because it stores for each error the keys and indexes that lead to the value.
    """
    parts, length, stored = [document], -_FREE_PATH, 0
    while parts:
        objects = [one for one in parts if type(one) is dict]
        arrays = [one for one in parts if type(one) is list]
        parts = [*chain(*arrays), *chain.from_iterable(map(dict.values, objects))]
        length += _STEP + max(map(len, chain(*objects)), default=0)
        stored += max(length, 0) * len(parts)
        if stored > _MOST_STORED:
            raise ValueError("Expected shorter keys, or fewer levels of nesting")


def check_texts(document: object, finder: Finder) -> None:
    """Raise ``ValueError`` for a string of more than ``MOST_MATCHED`` characters that msgspec would
    match against a regular expression. ``finder``: finds the strings that msgspec matches.
    """
    for text in finder.values_in(document):
        if isinstance(text, str) and len(text) > MOST_MATCHED:
            raise ValueError(f"Expected `str` of length <= {MOST_MATCHED}")


def check_json_texts(document: object, finder: Finder) -> None:
    """Raise 413 for a string with too many JSON values, which pydantic would parse. ``finder``:
    finds the strings that pydantic parses.
    """
    for text in finder.values_in(document):
        if isinstance(text, str):
            check_client_values(text)


def check_result(result: object, finder: Finder) -> None:
    """Raise ``ValueError`` if a handler's result has a list of more than ``MAX_HASHED`` values
    whose hashes collide where the annotation declares a set, or a dict of so many strings where it
    declares other keys. A client may have sent these values to a parameter without a limit.

    ``finder``: finds the values for which the annotation declares a set or a dict.
    """
    value: Any
    for value in finder.values_in(result):
        # The handler itself has created a set, or a dict whose keys aren't strings.
        is_converted = isinstance(value, list | tuple) or (
            isinstance(value, dict) and str in map(type, value)
        )
        if is_converted and len(value) > MAX_HASHED and _may_collide(value):
            raise ValueError(
                f"a {type(value).__name__} of more than {MAX_HASHED} values isn't converted to a "
                "set or a dict with other keys, because a client may have sent it to make all "
                "hashes collide: return the set or dict"
            )


def _may_collide(values: Iterable[object]) -> bool:
    """Return whether more than ``MAX_HASHED`` of the values have the hash of another one, or
    whether that can't be known, because they are converted first.
    """
    # The keys are strings, because a client can also choose numbers that collide in a dict although
    # their hashes differ.
    first: dict[str, object] = {}
    try:
        return (
            sum(
                isinstance(one, str) or first.setdefault(str(hash(one)), one) != one
                for one in values
            )
            > MAX_HASHED
        )
    except TypeError:  # a list or a dict, which becomes a tuple or a structure
        return True


def _values_in(document: object) -> Iterator[object]:
    """Yield a document and the values inside it, at any depth."""
    found = [document]
    for value in found:
        yield value
        if isinstance(value, dict):
            found += value.values()
        elif isinstance(value, list):
            found += value


def longest_key(document: object) -> int:
    """Return the length of the longest key in a document, at any depth."""
    objects = (value for value in _values_in(document) if isinstance(value, dict))
    return max(map(len, chain.from_iterable(objects)), default=0)


def has_long_text(document: object) -> bool:
    """Return whether a document contains a string of more than ``MOST_MATCHED`` characters."""
    texts = (value for value in _values_in(document) if isinstance(value, str))
    return max(longest_key(document), *map(len, texts), 0) > MOST_MATCHED


def check_numbers(made: object, hint: Hint) -> None:
    """Raise ``PathError`` if a structure contains a float or Decimal that a parameter would not
    accept, such as NaN. The defaults of fields are not checked.

    ``made``: the structure. ``hint``: its annotation.
    """
    from decimal import Decimal

    waiting: list[_Found] = [("", None, made)]
    defaults: dict[int, object] = {}
    seen: dict[int, object] = {}  # because a structure may refer to itself
    for found in waiting:
        step, outer, value = found
        kind = type(value)
        is_wrong = (isinstance(value, float) and not math.isfinite(value)) or (
            isinstance(value, Decimal) and not is_moderate(value)
        )
        if is_wrong and not defaults:  # found once, because each item of a list may have a default
            defaults = {
                id(field.default): field.default
                for structure in filter(is_structure, kinds_in(hint))
                for field in fields_of(structure)
            }
        if is_wrong and id(value) not in defaults:
            raise PathError(
                _steps_to(found),
                f"Expected a number from -1e{MAX_EXPONENT} to 1e{MAX_EXPONENT} with at most "
                f"{MAX_EXPONENT} decimal places",
            )
        if isinstance(value, str | int | float | None) or id(value) in seen:
            continue
        seen[id(value)] = value
        if isinstance(value, Mapping | Set):
            waiting += [(step, outer, one) for one in value]
        is_root = getattr(kind, "__pydantic_root_model__", False)  # its value has no name
        parts = _parts_of(value)
        waiting += [(step, outer, one) if is_root else (name, found, one) for name, one in parts]


def _parts_of(made: Any) -> Iterable[tuple[str | int, object]]:
    """Return what is directly inside a dict, an array or a structure, by key, index or name."""
    kind = type(made)
    if isinstance(made, Mapping):
        return [(str(key), part) for key, part in made.items()]
    if isinstance(made, list | tuple):
        return enumerate(made)
    if is_pydantic(kind):
        return [(one.name, getattr(made, one.attribute)) for one in fields_of(kind)]
    return [(name, getattr(made, name)) for name in names_of(kind)]
