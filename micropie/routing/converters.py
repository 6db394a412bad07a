"""Convert text (a path, a query, a form) or a JSON value to the type that a parameter is annotated with.

``converter_for`` compiles an annotation to a ``Converter`` once; a request only calls it. A ``Converter`` has two
functions because text and JSON differ: for a bool, ``1`` in a query means true, but ``1`` in JSON is a number and is
refused. Its ``expected`` completes the sentence "Parameter 'x' must be ...".
"""

from __future__ import annotations

import dataclasses
import enum
import math
import re
import types
from collections.abc import Callable, Iterable, Mapping
from datetime import date, datetime, time
from decimal import Decimal, InvalidOperation
from inspect import Parameter
from typing import (
    Annotated,
    Any,
    Literal,
    NamedTuple,
    Protocol,
    TypeAlias,
    TypeGuard,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
    is_typeddict,
)
from uuid import UUID

from micropie.errors import SetupError

T = TypeVar("T")

Collect: TypeAlias = Callable[[list[object]], object]


class Converter(NamedTuple):
    """Two functions that return the converted value and raise ``ValueError`` for anything but what is ``expected``.

    ``optional``: None is a value as well. ``many``: if set, the parameter takes every value of its name; ``many``
    makes a list, a tuple or a set of the converted ones.
    """

    expected: str
    from_text: Callable[[str], object]
    from_json: Callable[[object], object]
    optional: bool = False
    many: Collect | None = None


_WHOLE = re.compile(r"[+-]?[0-9]{1,4300}", re.ASCII)  # int() would take "1_0", " 1 " and other scripts' digits
_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?", re.ASCII)
_TRUE, _FALSE = frozenset({"true", "1", "yes", "on"}), frozenset({"false", "0", "no", "off", ""})


def _to_int(text: str) -> int:
    if not _WHOLE.fullmatch(text):
        raise ValueError(text)
    return int(text)


def _to_float(text: str) -> float:
    # NaN and infinity are refused here as they are in JSON: they can't be compared, stored or sent on.
    number = float(text) if _NUMBER.fullmatch(text) else math.nan
    if not math.isfinite(number):
        raise ValueError(text)
    return number


def _to_bool(text: str) -> bool:
    word = text.lower()
    if word not in _TRUE and word not in _FALSE:
        raise ValueError(text)
    return word in _TRUE


def _to_decimal(text: str) -> Decimal:
    try:
        number = Decimal(text) if _NUMBER.fullmatch(text) else Decimal("NaN")
    except InvalidOperation:  # an exponent beyond the decimal module's limits
        raise ValueError(text) from None
    if not number.is_finite():
        raise ValueError(text)
    return number


def _identity(value: T) -> T:
    return value


def _scalar(
    kind: type,
    expected: str,
    from_text: Callable[[str], object],
    from_number: Callable[[int | float], object] | None = None,
) -> Converter:
    """Return a converter that leaves JSON values of ``kind`` as they are, and converts text and perhaps numbers."""

    def from_json(value: object) -> object:
        if type(value) is kind:
            return value
        if from_number is not None and isinstance(value, int | float) and not isinstance(value, bool):
            try:
                return from_number(value)
            except OverflowError:  # a whole number beyond the largest float
                raise ValueError(value) from None
        if not isinstance(value, str):
            raise ValueError(value)
        return from_text(value)

    return Converter(expected, from_text, from_json)


ANYTHING = Converter("a value", _identity, _identity)

_SIMPLE: dict[object, Converter] = {
    Parameter.empty: ANYTHING,  # no annotation
    Any: ANYTHING,
    object: ANYTHING,
    str: _scalar(str, "text", _identity),
    int: _scalar(int, "a whole number", _to_int),
    float: _scalar(float, "a number", _to_float, from_number=float),
    bool: _scalar(bool, "true or false", _to_bool),
    Decimal: _scalar(Decimal, "a decimal number", _to_decimal, from_number=lambda number: Decimal(str(number))),
    UUID: _scalar(UUID, "a UUID", UUID),
    date: _scalar(date, "a date such as 2026-01-31", date.fromisoformat),
    time: _scalar(time, "a time such as 13:45:00", time.fromisoformat),
    datetime: _scalar(datetime, "a date and time such as 2026-01-31T13:45:00", datetime.fromisoformat),
}


def converter_for(annotation: object, parameter: str) -> Converter:
    """Return the converter for an annotation. Raises ``SetupError`` for one without a conversion."""
    if get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    if annotation in _SIMPLE:
        return _SIMPLE[annotation]
    if isinstance(annotation, TypeVar):
        return ANYTHING
    if isinstance(annotation, type) and issubclass(annotation, enum.Enum):
        return _one_of({str(member.value): member for member in annotation})
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return _one_of({str(value): value for value in arguments})
    if origin in (Union, types.UnionType):
        return _union(arguments, parameter)
    if annotation in _COLLECTIONS or origin in _COLLECTIONS:
        return _collection(origin or annotation, arguments, parameter)
    if annotation is dict or origin is dict:
        return _json_object(converter_for(arguments[1], parameter) if arguments else ANYTHING)
    raise SetupError(
        f"parameter {parameter!r} is annotated with {annotation!r}, which no text converts to: use str, int, float, "
        "bool, UUID, date, datetime, Decimal, an Enum, Literal, Optional, list[...], a dataclass, a TypedDict, "
        "a msgspec.Struct or a pydantic model"
    )


def _json_object(member: Converter) -> Converter:
    def from_text(text: str) -> object:
        raise ValueError(text)

    def from_json(value: object) -> object:
        if not isinstance(value, dict):
            raise ValueError(value)
        return {name: member.from_json(element) for name, element in value.items()}

    return Converter("a JSON object", from_text, from_json)


def _one_of(choices: Mapping[str, object]) -> Converter:
    def choose(value: object) -> object:
        try:
            return choices[str(value)]
        except KeyError:
            raise ValueError(value) from None

    def choose_json(value: object) -> object:
        # Only a bool chooses a bool: as text, JSON's true and "True" are the same.
        if not isinstance(value, str | int | float) or isinstance(value, bool) != isinstance(choose(value), bool):
            raise ValueError(value)
        return choose(value)

    return Converter("one of " + ", ".join(choices), choose, choose_json)


def _union(members: tuple[object, ...], parameter: str) -> Converter:
    optional = type(None) in members
    inner = [converter_for(member, parameter) for member in members if member is not type(None)]
    if len(inner) == 1:
        return _optional(inner[0]) if optional else inner[0]
    # int before str in any union: every text is a str.
    inner.sort(key=lambda converter: converter in (_SIMPLE[str], ANYTHING))
    union = Converter(
        " or ".join(converter.expected for converter in inner),
        lambda text: _first_that_fits((converter.from_text for converter in inner), text),
        lambda value: _first_that_fits((converter.from_json for converter in inner), value),
    )
    return _optional(union) if optional else union


def _first_that_fits(converts: Iterable[Callable[[T], object]], value: T) -> object:
    for convert in converts:
        try:
            return convert(value)
        except ValueError:
            continue
    raise ValueError(value)


def _optional(inner: Converter) -> Converter:
    # Forms send an empty field for "nothing entered". It is None, except for text, of which "" is a value.
    keeps_empty = inner in (_SIMPLE[str], ANYTHING) or inner.many is not None
    return inner._replace(
        from_text=lambda text: None if text == "" and not keeps_empty else inner.from_text(text),
        from_json=lambda value: None if value is None else inner.from_json(value),
        optional=True,
    )


_COLLECTIONS: dict[object, Collect] = {list: list, tuple: tuple, set: set, frozenset: frozenset}


def _collection(kind: object, arguments: tuple[object, ...], parameter: str) -> Converter:
    if kind is tuple and len(arguments) == 2 and arguments[1] is Ellipsis:
        arguments = arguments[:1]
    if len(arguments) > 1:
        raise SetupError(f"parameter {parameter!r}: a tuple of fixed length comes from no form; write tuple[X, ...]")
    item = converter_for(arguments[0], parameter) if arguments else ANYTHING
    make = _COLLECTIONS[kind]

    def from_json(value: object) -> object:
        if not isinstance(value, list):
            raise ValueError(value)
        return make([item.from_json(element) for element in value])

    return Converter(f"a list, each {item.expected}", item.from_text, from_json, many=make)


# -- structures: a whole body as one object ----------------------------------------------------------------------------

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

    def model_validate(self, document: object) -> object: ...


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
    if is_pydantic(structure):
        model: _PydanticModel = structure
        readers = {name: _form_reader(field.annotation) for name, field in model.model_fields.items()}
        return StructureConverter(
            model.model_validate, lambda fields: model.model_validate(_read_fields(fields, readers))
        )
    try:
        import msgspec
    except ImportError:
        raise SetupError(
            f'parameter {parameter!r} is a {structure.__name__}: install msgspec, pip install "micropie-dual[standard]"'
        ) from None

    try:
        msgspec.json.Decoder(structure)  # raises TypeError for a structure that msgspec can't make
        readers = {name: _form_reader(hint) for name, hint in get_type_hints(structure).items()}
    except (TypeError, NameError, AttributeError, SyntaxError) as error:
        raise SetupError(f"parameter {parameter!r} is a {structure.__name__}, which can't be made: {error}") from None

    def convert(document: object, strict: bool = True) -> object:
        try:
            return msgspec.convert(document, structure, strict=strict)
        except msgspec.ValidationError as error:  # not a ValueError in msgspec
            raise ValueError(str(error)) from None

    return StructureConverter(convert, lambda fields: convert(_read_fields(fields, readers), strict=False))


def _read_fields(fields: Mapping[str, list[str]], readers: Mapping[str, _FormReader]) -> dict[str, object]:
    return {name: readers.get(name, _one_or_all)(texts) for name, texts in fields.items()}


def _one_or_all(texts: list[str]) -> str | list[str]:
    return texts[0] if len(texts) == 1 else texts


def _form_reader(hint: object) -> _FormReader:
    """Return a function from the texts of a form's field to a value.

    In a form, a list of one looks like a single value, a ticked box is the text "on", and None is the text "".
    """
    members = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    if any((get_origin(member) or member) in _COLLECTIONS for member in members):
        return _identity
    if bool in members:
        return lambda texts: True if texts == ["on"] else _one_or_all(texts)
    if type(None) in members and str not in members:
        return lambda texts: None if texts == [""] else _one_or_all(texts)
    return _one_or_all
