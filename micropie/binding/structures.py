"""Structures: a whole body, query or form as one object, a dataclass, TypedDict, msgspec.Struct or pydantic model.

msgspec or pydantic makes the object. The checks here keep out values that either would take from a client and that no
parameter of the same type may have.
"""

from __future__ import annotations

import dataclasses
import math
import re
import types
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from decimal import Decimal
from typing import (
    Annotated,
    Any,
    Literal,
    NamedTuple,
    NewType,
    Protocol,
    TypeAlias,
    TypeGuard,
    Union,
    get_args,
    get_origin,
    get_type_hints,
    is_typeddict,
)

from micropie.binding.converters import COLLECTIONS, MAX_EXPONENT, MAX_HASHED, converter_for, is_enum, is_moderate
from micropie.errors import SetupError

_FormReader: TypeAlias = Callable[[list[str]], object]


class StructureConverter(NamedTuple):
    """Two functions that make a structure, and raise ``ValueError`` with a text that says what is wrong.

    ``from_form`` takes the texts of a form's fields by name.
    """

    from_json: Callable[[object], object]
    from_form: Callable[[Mapping[str, list[str]]], object]


class _PydanticField(Protocol):
    annotation: object


class _PydanticModel(Protocol):
    """The part of a pydantic model's class that is used here."""

    model_fields: Mapping[str, _PydanticField]

    def model_validate(self, document: object, strict: bool | None = None) -> object: ...


def is_structure(annotation: object) -> TypeGuard[type]:
    """Return whether a whole body becomes this: a dataclass, TypedDict, msgspec.Struct or pydantic model."""
    return isinstance(annotation, type) and (
        dataclasses.is_dataclass(annotation)
        or is_typeddict(annotation)
        or hasattr(annotation, "__struct_fields__")
        or is_pydantic(annotation)
    )


def is_pydantic(annotation: object) -> TypeGuard[_PydanticModel]:
    """Return whether this is a pydantic model; pydantic itself is not imported for that."""
    return hasattr(annotation, "model_validate") and hasattr(annotation, "model_fields")


def structure_converter(structure: type, parameter: str) -> StructureConverter:
    """Return the converter for a structure. Raises ``SetupError`` if msgspec is missing, or can't make it."""
    try:
        readers = {name: _form_reader(hint) for name, hint in _fields_of(structure).items()}
        make = structure.model_validate if is_pydantic(structure) else _by_msgspec(structure, parameter)
        kinds = _kinds_in(structure)
    except (TypeError, NameError, AttributeError, SyntaxError) as error:
        raise SetupError(f"parameter {parameter!r} is a {structure.__name__}, which can't be made: {error}") from None
    from fractions import Fraction

    if Fraction in kinds:
        raise SetupError(
            f"parameter {parameter!r} is a {structure.__name__} with a Fraction, which takes minutes to make of "
            '"1e99999999": use a Decimal'
        )
    own = [] if is_pydantic(structure) else [*_fields_outside_init(kinds)]
    if own:  # msgspec would set it all the same
        raise SetupError(
            f"parameter {parameter!r} is a {structure.__name__}, and a body must not set {own[0]}, which has init=False"
            ": have a class with the fields that a body may set, or make it a property"
        )
    is_hashed = any(map(_has_chosen_hashes, kinds))
    has_numbers = Decimal in kinds or (float in kinds and is_pydantic(structure))  # it takes the text "nan" for a float

    def from_json(document: object) -> object:
        if is_hashed:
            _check_sizes(document)
        made = make(document)
        if has_numbers:
            _check_numbers(made)
        return made

    def from_form(fields: Mapping[str, list[str]]) -> object:
        made = make({name: readers.get(name, _one_or_all)(texts) for name, texts in fields.items()}, strict=False)
        _check_numbers(made)
        return made

    return StructureConverter(from_json, from_form)


def _by_msgspec(structure: type, parameter: str) -> Callable[..., object]:
    """Return a function that makes a structure of a document, strictly or of a form's texts."""
    try:
        import msgspec
    except ImportError:
        raise SetupError(
            f'parameter {parameter!r} is a {structure.__name__}: install msgspec, pip install "micropie-dual[standard]"'
        ) from None

    msgspec.json.Decoder(structure)  # raises TypeError for a structure that msgspec can't make
    _check_required_fields(structure, parameter)

    def make(document: object, strict: bool = True) -> object:
        try:
            return msgspec.convert(document, structure, strict=strict)
        except msgspec.ValidationError as error:  # not a ValueError in msgspec
            raise ValueError(_explained(str(error), structure)) from None

    return make


# One of each kind that a document has.
_DOCUMENTS: Sequence[object] = ("", 0, 0.5, True, None, [], {})


def _check_required_fields(structure: type, parameter: str) -> None:
    """Raise ``SetupError`` for a field whose type msgspec makes of no document: every request would be refused."""
    from msgspec import inspect

    waiting = [inspect.type_info(structure)]
    seen: set[type] = set()
    while waiting:
        kind = waiting.pop()
        if isinstance(kind, inspect.CustomType) and not any(isinstance(value, kind.cls) for value in _DOCUMENTS):
            raise SetupError(
                f"parameter {parameter!r} is a {structure.__name__} that needs a {kind.cls.__name__}, which msgspec "
                "makes of no JSON and no form: give it another type or a default, or use a pydantic model"
            )
        if isinstance(kind, inspect.StructType | inspect.DataclassType | inspect.TypedDictType):
            waiting += [field.type for field in kind.fields if field.required and kind.cls not in seen]
            seen.add(kind.cls)


def _explained(problem: str, structure: type) -> str:
    """Return msgspec's sentence; where it quotes a value that an enumeration lacks, say which ones it has."""
    if not problem.startswith("Invalid enum value"):
        return problem
    _, dash, place = problem.rpartition(" - at ")
    annotation: object = structure
    for name in re.findall(r"\.([^.\[\]`]+)", place):
        structures = [_fields_of(kind) for kind in _kinds_in(annotation) if is_structure(kind)]
        annotation = next((fields[name] for fields in structures if name in fields), None)
    choices = [kind for kind in _kinds_in(annotation) if get_origin(kind) is Literal or is_enum(kind)]
    expected = [converter_for(kind, "").expected for kind in choices]
    return f"{'Expected ' + expected[0] if len(expected) == 1 else 'Invalid enum value'}{dash}{place}"


def _fields_of(structure: type) -> dict[str, object]:
    """Return the annotations of a structure's fields."""
    if is_pydantic(structure):
        return {name: field.annotation for name, field in structure.model_fields.items()}
    return get_type_hints(structure)


def _kinds_in(annotation: object) -> list[object]:
    """Return all types in an annotation, and in those of structures in it: ``set[int]``, ``int``, ..."""
    kinds: list[object] = []  # no set: the metadata of an ``Annotated`` may not be hashable
    structures: set[type] = set()
    waiting: list[object] = [annotation]
    while waiting:
        kind = waiting.pop()
        kinds.append(kind)
        origin = get_origin(kind)
        for inner in (kind, origin):
            if is_structure(inner) and inner not in structures:
                structures.add(inner)
                waiting.extend(_fields_of(inner).values())
        if origin is not Literal:
            waiting.extend(get_args(kind)[:1] if origin is Annotated else get_args(kind))
        if isinstance(kind, NewType):
            waiting.append(kind.__supertype__)
    return kinds


def _fields_outside_init(kinds: Iterable[object]) -> Iterator[str]:
    """Yield the fields of dataclasses that their constructors don't take."""
    for kind in kinds:
        owner = get_origin(kind) or kind
        if isinstance(owner, type) and dataclasses.is_dataclass(owner):
            yield from (f"{owner.__name__}.{field.name}" for field in dataclasses.fields(owner) if not field.init)


def _has_chosen_hashes(kind: object) -> bool:
    """Return whether this is a set, or a dict, whose elements or keys a client can choose so that they collide."""
    origin = get_origin(kind) or kind
    if not isinstance(origin, type) or is_structure(origin) or not issubclass(origin, Set | Mapping):
        return False
    default = Any if issubclass(origin, Set) else str
    element, *_ = get_args(kind) or (default,)
    return element is not str and not is_enum(element)


def _check_sizes(document: object) -> None:
    """Raise ``ValueError`` for an array or object that would make too large a set or dict."""
    waiting = [document]
    while waiting:
        value = waiting.pop()
        if isinstance(value, list | dict):
            if len(value) > MAX_HASHED:
                raise ValueError(f"Expected at most {MAX_HASHED} values in an array or object")
            waiting.extend(value.values() if isinstance(value, dict) else value)


def _check_numbers(made: object) -> None:
    """Raise ``ValueError`` for a float or Decimal anywhere in a structure that no parameter of its type may have."""
    waiting = [made]
    while waiting:
        value: Any = waiting.pop()
        kind = type(value)
        if (kind is float and not math.isfinite(value)) or (kind is Decimal and not is_moderate(value)):
            raise ValueError(f"Expected a number with digits from 1e-{MAX_EXPONENT} to 1e{MAX_EXPONENT}")
        if isinstance(value, Mapping):
            waiting.extend([*value, *value.values()])
        elif isinstance(value, list | tuple | Set):
            waiting.extend(value)
        elif is_structure(kind):
            names = getattr(kind, "__struct_fields__", None) or getattr(kind, "__dataclass_fields__", _fields_of(kind))
            waiting.extend(getattr(value, name) for name in names)


def _one_or_all(texts: list[str]) -> str | list[str]:
    return texts[0] if len(texts) == 1 else texts


def _form_reader(hint: object) -> _FormReader:
    """Return a function from the texts of a form's field to a value.

    In a form, a list of one looks like a single value, a ticked box is the text "on", and None is the text "".
    """
    members = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    if any((get_origin(member) or member) in COLLECTIONS for member in members):
        return lambda texts: texts
    if bool in members:
        return lambda texts: True if texts == ["on"] else _one_or_all(texts)
    if type(None) in members:
        return lambda texts: None if texts == [""] else _one_or_all(texts)
    return _one_or_all
