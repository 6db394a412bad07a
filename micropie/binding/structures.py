"""Structures: a whole body, query or form as one object, a dataclass, TypedDict, msgspec.Struct or pydantic model.

msgspec or pydantic makes the object. The checks here keep out values that either would take from a client and that no
parameter of the same type may have.
"""

from __future__ import annotations

import dataclasses
import math
import re
import sys
import types
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence, Set
from decimal import Decimal
from functools import partial
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from pathlib import Path
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

from micropie.binding.converters import (
    COLLECTIONS,
    MAX_EXPONENT,
    MAX_HASHED,
    NO_OWN_TYPES,
    OwnTypes,
    converter_for,
    is_enum,
    is_moderate,
    without_aliases,
)
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


def members_of(annotation: object) -> tuple[type, ...]:
    """Return the structure that a whole body becomes, or those of a union without None; none for another type."""
    kind = get_args(annotation)[0] if get_origin(annotation) is Annotated else annotation
    members = get_args(kind) if get_origin(kind) in (Union, types.UnionType) else (kind,)
    return members if all(map(is_structure, members)) else ()


def name_of(structure: object) -> str:
    """Return the name of a structure, "Cat | Dog" of a union."""
    return " | ".join(one.__name__ for one in members_of(structure))


def structure_converter(structure: Any, parameter: str, own: OwnTypes = NO_OWN_TYPES) -> StructureConverter:
    """Return the converter for a structure. Raises ``SetupError`` if msgspec is missing, or can't make it."""
    try:
        members = members_of(structure)
        readers = {name: _form_reader(hint) for one in members for name, hint in _fields_of(one).items()}
        is_all_pydantic = all(map(is_pydantic, members))
        if is_all_pydantic:  # which has been imported
            make = sys.modules["pydantic"].TypeAdapter(structure).validate_python
        else:
            make = _by_msgspec(structure, parameter, own)
        kinds = _kinds_in(structure)
    except (TypeError, NameError, AttributeError, SyntaxError) as error:
        advice = ": write class Cat(msgspec.Struct, tag=True), or take pydantic models" if len(members) > 1 else ""
        raise SetupError(
            f"parameter {parameter!r} is a {name_of(structure)}, which can't be made: {error}{advice}"
        ) from None
    from fractions import Fraction

    if Fraction in kinds:
        raise SetupError(
            f"parameter {parameter!r} is a {name_of(structure)} with a Fraction, which takes minutes to make of "
            '"1e99999999": use a Decimal'
        )
    outside = [] if is_all_pydantic else [*_fields_outside_init(kinds)]
    if outside:  # msgspec would set it all the same
        raise SetupError(
            f"parameter {parameter!r} is a {name_of(structure)}, and a body must not set {outside[0]}, which has "
            "init=False: have a class with the fields that a body may set, or make it a property"
        )
    is_hashed = any(map(_has_chosen_hashes, kinds))
    has_numbers = Decimal in kinds or (float in kinds and is_all_pydantic)  # it takes the text "nan" for a float

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


def _by_msgspec(structure: Any, parameter: str, own: OwnTypes) -> Callable[..., object]:
    """Return a function that makes a structure of a document, strictly or of a form's texts."""
    try:
        import msgspec
    except ImportError:
        raise SetupError(
            f'parameter {parameter!r} is a {name_of(structure)}: install msgspec, pip install "micropie-dual[standard]"'
        ) from None

    msgspec.json.Decoder(structure)  # raises TypeError for a structure that msgspec can't make
    decoded = {kind for kind in _kinds_in(structure) if isinstance(kind, type) and kind in own.decoders}
    for kind in decoded:
        if not isinstance(msgspec.inspect.type_info(kind), msgspec.inspect.CustomType):
            raise SetupError(
                f"parameter {parameter!r} is a {name_of(structure)} with a {kind.__name__}, which msgspec makes by "
                "itself there: App(decoders=...) makes plain classes in a structure, and no dataclass, Struct, Enum "
                "or type of the standard library"
            )
    converters = {kind: converter_for(kind, parameter, own) for kind in (*decoded, *_OF_PARAMETERS)}
    _check_required_fields(structure, parameter, converters)

    def from_custom(kind: type, given: object) -> object:
        converter = converters.get(kind)
        try:
            if converter is not None:
                return converter.from_json(given)
            if isinstance(given, kind):
                return given
        except ValueError:
            pass
        raise ValueError(f"Expected {converter.expected if converter is not None else f'`{kind.__name__}`'}")

    def make(document: object, strict: bool = True) -> object:
        try:
            return _convert(document, structure, strict, from_custom)
        except msgspec.ValidationError as error:  # not a ValueError in msgspec
            raise ValueError(_explained(str(error), structure)) from None

    return make


def _convert(document: object, kind: object, strict: bool, dec_hook: Callable[[type, object], object]) -> object:
    """Convert a document by msgspec, for which 5.0 is no int. In JSON, and in JSON Schema, 5 and 5.0 are the same."""
    import msgspec

    convert = partial(msgspec.convert, type=kind, strict=strict, dec_hook=dec_hook)
    try:
        return convert(document)
    except msgspec.ValidationError as error:
        if not strict or "`int`, got `float`" not in str(error):
            raise
    return convert(_with_whole_numbers(document))


def _with_whole_numbers(document: object) -> object:
    """Return a document with 5 in the place of each 5.0."""
    if isinstance(document, float):
        return int(document) if document.is_integer() else document
    if isinstance(document, dict):
        return {name: _with_whole_numbers(value) for name, value in document.items()}
    return [*map(_with_whole_numbers, document)] if isinstance(document, list) else document


def with_fields_of(kind: Any, value: object) -> object:
    """Return a value with the fields of a structure alone, at any depth. Raises ``ValueError`` if it does not fit."""
    import msgspec

    try:  # not strictly: databases have 0 and 1 for booleans
        return msgspec.convert(value, kind, strict=False, from_attributes=True)
    except msgspec.ValidationError as error:
        raise ValueError(str(error)) from None


# Types of parameters that msgspec does not know.
_OF_PARAMETERS = (Path, IPv4Address, IPv6Address, IPv4Network, IPv6Network)

# One of each kind that a document has.
_DOCUMENTS: Sequence[object] = ("", 0, 0.5, True, None, [], {})


def _check_required_fields(structure: Any, parameter: str, converters: Collection[type]) -> None:
    """Raise ``SetupError`` for a field whose type msgspec makes of no document: every request would be refused."""
    from msgspec import inspect

    info = inspect.type_info(structure)
    waiting = [*info.types] if isinstance(info, inspect.UnionType) else [info]
    seen: set[type] = set()
    while waiting:
        kind = waiting.pop()
        if (
            isinstance(kind, inspect.CustomType)
            and kind.cls not in converters
            and not any(isinstance(value, kind.cls) for value in _DOCUMENTS)
        ):
            raise SetupError(
                f"parameter {parameter!r} is a {name_of(structure)} that needs a {kind.cls.__name__}, which msgspec "
                f"makes of no JSON and no form: write App(decoders={{{kind.cls.__name__}: ...}}) with a function that "
                "does, give it another type or a default, or use a pydantic model"
            )
        if isinstance(kind, inspect.StructType | inspect.DataclassType | inspect.TypedDictType):
            waiting += [field.type for field in kind.fields if field.required and kind.cls not in seen]
            seen.add(kind.cls)


def _explained(problem: str, structure: Any) -> str:
    """Return msgspec's sentence; where it quotes a value that is no choice or no tag, say which ones there are."""
    _, dash, place = problem.rpartition(" - at ")
    if problem.startswith("Invalid value "):
        configs = [getattr(one, "__struct_config__", None) for one in members_of(structure)]
        tags = [str(one.tag) for one in configs if one is not None and place == f"`$.{one.tag_field}`"]
        return f"{'Expected one of ' + ', '.join(tags) if tags else 'Invalid value'}{dash}{place}"
    if not problem.startswith("Invalid enum value"):
        return problem
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
        return {name: without_aliases(field.annotation) for name, field in structure.model_fields.items()}
    return {name: without_aliases(hint) for name, hint in get_type_hints(structure).items()}


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
