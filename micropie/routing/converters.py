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
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from datetime import date, datetime, time
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from inspect import Parameter
from typing import (
    Annotated,
    Any,
    Literal,
    NamedTuple,
    NewType,
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
from micropie.routing.constraints import Constraint, check_type, checked, constraints_of

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


# The limits below keep a client from choosing values that take quadratic time, here or in the handler.
MAX_DIGITS = 4300  # of a number, as in JSON and in CPython's int()
MAX_EXPONENT = 308  # of a Decimal, as of a float: int(Decimal("1e300000")) takes seconds
# Of a set, or of a dict whose keys are not text. Anybody can choose a million ints with one hash, and each that is
# added is compared with all before it; the hash of text is secret.
MAX_HASHED = 1000

_WHOLE = re.compile(rf"[+-]?[0-9]{{1,{MAX_DIGITS}}}")  # int() would take "1_0", " 1 " and other scripts' digits
_NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
# UUID() would take braces, signs, hyphens anywhere and other scripts' digits.
_UUID = re.compile("[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}|[0-9a-fA-F]{32}")
# fromisoformat() would take any character for the T, and digits without end for a fraction.
_TIME = r"[0-9]{2}(?::?[0-9]{2}(?::?[0-9]{2}(?:[.,][0-9]{1,9})?)?)?(?:Z|[+-][0-9:.]{2,15})?"
_ISO_TIME = re.compile(f"T?{_TIME}")
_ISO_DATETIME = re.compile(f"[0-9W-]{{7,10}}(?:[T ]{_TIME})?")
_TRUE, _FALSE = frozenset({"true", "1", "yes", "on"}), frozenset({"false", "0", "no", "off", ""})


def _if_matches(form: re.Pattern[str], make: Callable[[str], T]) -> Callable[[str], T]:
    """Return ``make`` for text of this form alone: it takes more than that itself."""

    def convert(text: str) -> T:
        if not form.fullmatch(text):
            raise ValueError(text)
        return make(text)

    return convert


def _is_number(text: str) -> bool:
    return len(text) <= MAX_DIGITS and _NUMBER.fullmatch(text) is not None


def _to_float(text: str) -> float:
    # NaN and infinity are refused here as they are in JSON: they can't be compared, stored or sent on.
    number = float(text) if _is_number(text) else math.nan
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
        number = Decimal(text) if _is_number(text) else Decimal("NaN")
    except InvalidOperation:  # an exponent beyond the decimal module's limits
        raise ValueError(text) from None
    if not _is_moderate(number):
        raise ValueError(text)
    return number


def _is_moderate(number: Decimal) -> bool:
    """Return whether a number is finite and its digits lie between 10**308 and 10**-308."""
    # ``adjusted`` is the exponent of the first digit, ``exponent`` that of the last.
    if not number.is_finite() or number.adjusted() > MAX_EXPONENT:
        return False
    exponent = number.as_tuple().exponent
    return isinstance(exponent, int) and -MAX_EXPONENT <= exponent <= MAX_EXPONENT


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

# A type that is added here needs a schema (``openapi/schemas.py``), a way out as JSON (``http/json.py``), and
# a row in docs/binding.md. The fields of structures are converted by msgspec and pydantic, which know other types.
_SIMPLE: dict[object, Converter] = {
    Parameter.empty: ANYTHING,  # no annotation
    Any: ANYTHING,
    object: ANYTHING,
    str: _scalar(str, "text", _identity),
    int: _scalar(int, "a whole number", _if_matches(_WHOLE, int)),
    float: _scalar(float, "a number", _to_float, from_number=float),
    bool: _scalar(bool, "true or false", _to_bool),
    Decimal: _scalar(Decimal, "a decimal number", _to_decimal, from_number=lambda number: _to_decimal(str(number))),
    UUID: _scalar(UUID, "a UUID", _if_matches(_UUID, UUID)),
    date: _scalar(date, "a date such as 2026-01-31", date.fromisoformat),
    time: _scalar(time, "a time such as 13:45:00", _if_matches(_ISO_TIME, time.fromisoformat)),
    datetime: _scalar(
        datetime,
        "a date and time such as 2026-01-31T13:45:00",
        _if_matches(_ISO_DATETIME, datetime.fromisoformat),
    ),
}

_TEXT = (_SIMPLE[str], ANYTHING)


def converter_for(annotation: object, parameter: str) -> Converter:
    """Return the converter for an annotation. Raises ``SetupError`` for one without a conversion."""
    if get_origin(annotation) is Annotated:
        annotation, *metadata = get_args(annotation)
        constraints = constraints_of(metadata, parameter)
        check_type(constraints, annotation, parameter)
        return _constrained(converter_for(annotation, parameter), constraints)
    if annotation in _SIMPLE:
        return _SIMPLE[annotation]
    if isinstance(annotation, TypeVar):
        return ANYTHING
    if _is_enum(annotation):
        return _one_of({str(member.value): member for member in annotation})
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return _one_of({str(value): value for value in arguments})
    if origin in (Union, types.UnionType):
        return _union(arguments, parameter)
    if annotation in _COLLECTIONS or origin in _COLLECTIONS:
        return _collection(origin or annotation, arguments, parameter)
    if annotation is dict or origin is dict:
        key, member = (converter_for(argument, parameter) for argument in arguments or (str, Any))
        return _json_object(key, member)
    known = ", ".join(kind.__name__ for kind in _SIMPLE if isinstance(kind, type) and _SIMPLE[kind] is not ANYTHING)
    raise SetupError(
        f"parameter {parameter!r} is annotated with {annotation!r}, which no text converts to: use {known}, an Enum, "
        "Literal, Optional, list[...], a dataclass, a TypedDict, a msgspec.Struct or a pydantic model; or have a "
        "function open it for each request: @app.provides(...) above it"
    )


def _constrained(converter: Converter, constraints: list[Constraint]) -> Converter:
    """Return a converter that also checks ``constraints``: those of a list are for the list, not for its values."""
    if not constraints:
        return converter
    expected = ", ".join([converter.expected, *(constraint.words for constraint in constraints)])
    if converter.many is not None:
        many, from_json = checked(converter.many, constraints), checked(converter.from_json, constraints)
        return converter._replace(expected=expected, many=many, from_json=from_json)
    from_text, from_json = checked(converter.from_text, constraints), checked(converter.from_json, constraints)
    return converter._replace(expected=expected, from_text=from_text, from_json=from_json)


def _json_object(key: Converter, member: Converter) -> Converter:
    has_text_keys = key in _TEXT

    def from_text(text: str) -> object:
        raise ValueError(text)

    def from_json(value: object) -> object:
        if not isinstance(value, dict) or (len(value) > MAX_HASHED and not has_text_keys):
            raise ValueError(value)
        return {key.from_text(name): member.from_json(element) for name, element in value.items()}

    limits = "" if has_text_keys else f" with at most {MAX_HASHED} members, each name {key.expected}"
    return Converter(f"a JSON object{limits}", from_text, from_json)


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
    inner.sort(key=lambda converter: converter in _TEXT)
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
    # Forms send an empty field for "nothing entered", which is None. In a list it is an element like any other.
    return inner._replace(
        from_text=lambda text: None if text == "" and inner.many is None else inner.from_text(text),
        from_json=lambda value: None if value is None else inner.from_json(value),
        optional=True,
    )


def _hashed(kind: Callable[[list[object]], object]) -> Collect:
    """Return a function that makes a ``set`` or a ``frozenset``, and raises ``ValueError`` for one too large."""

    def collect(elements: list[object]) -> object:
        if len(elements) > MAX_HASHED:
            raise ValueError(len(elements))
        try:
            return kind(elements)
        except TypeError:  # a list or an object in JSON
            raise ValueError("an element can't be hashed") from None

    return collect


_COLLECTIONS: dict[object, Collect] = {list: list, tuple: tuple, set: _hashed(set), frozenset: _hashed(frozenset)}


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

    most = f" of at most {MAX_HASHED} values" if kind in (set, frozenset) else ""
    return Converter(f"a list{most}, each {item.expected}", item.from_text, from_json, many=make)


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
    choices = [kind for kind in _kinds_in(annotation) if get_origin(kind) is Literal or _is_enum(kind)]
    expected = [converter_for(kind, "").expected for kind in choices]
    return f"{'Expected ' + expected[0] if len(expected) == 1 else 'Invalid enum value'}{dash}{place}"


def _is_enum(kind: object) -> TypeGuard[type[enum.Enum]]:
    return isinstance(kind, type) and issubclass(kind, enum.Enum)


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
    return element is not str and not _is_enum(element)


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
        if (kind is float and not math.isfinite(value)) or (kind is Decimal and not _is_moderate(value)):
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
    if any((get_origin(member) or member) in _COLLECTIONS for member in members):
        return _identity
    if bool in members:
        return lambda texts: True if texts == ["on"] else _one_or_all(texts)
    if type(None) in members:
        return lambda texts: None if texts == [""] else _one_or_all(texts)
    return _one_or_all
