"""Structures: a whole body, query or form as one object, a dataclass, TypedDict, msgspec.Struct or pydantic model.

msgspec or pydantic makes the object. The checks here keep out values that either would take from a client and that no
parameter of the same type may have.
"""

from __future__ import annotations

import copy
import dataclasses
import json
import math
import sys
import types
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence, Set
from datetime import datetime, time
from functools import lru_cache, partial
from inspect import get_annotations
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from itertools import chain, repeat
from pathlib import Path
from typing import (
    Annotated,
    Any,
    Literal,
    NamedTuple,
    NewType,
    NotRequired,
    Required,
    TypeGuard,
    Union,
    get_args,
    get_origin,
    get_type_hints,
    is_typeddict,
)

from micropie.binding.constraints import Message, restricts
from micropie.binding.converters import (
    ANYTHING,
    COLLECTIONS,
    MAX_EXPONENT,
    MAX_HASHED,
    NO_OWN_TYPES,
    Converter,
    OwnTypes,
    converter_for,
    is_enum,
    is_moderate,
    with_types,
    without_aliases,
)
from micropie.errors import SetupError
from micropie.http import CSRF_FIELD, UploadFile, dumps, loads, nested, rows

MOST_ERRORS = 100  # in one body, to be described


class StructureConverter(NamedTuple):
    """``make(given, place)`` makes a structure, and raises ``Refused``.

    It takes the document of "json", or the texts of fields by name of "form" and "query". ``lists``: the fields that
    may have several values.
    """

    make: Callable[[Any, str], object]
    lists: Collection[str]


class Refused(ValueError):
    """The refusal of a document; ``misfits.py`` says what is wrong with it.

    ``args``: the library's error, or a check's; the document; the structure; ``make(value, kind)``, which asks again
    for a part of the document, None for pydantic; the application's own types.
    """


class Field(NamedTuple):
    """A field of a structure: its name in a document, its annotation, whether a document must have it.

    ``kind`` and ``optional`` are the ``bare`` annotation, ``members`` the structures that it may be.
    """

    name: str
    hint: Any
    required: bool
    kind: Any
    optional: bool
    members: Sequence[type]


_FIELD_NAMES = ("__struct_fields__", "__dataclass_fields__", "model_fields")


def is_structure(annotation: object) -> TypeGuard[type]:
    """Return whether a whole body becomes this: a dataclass, TypedDict, msgspec.Struct or pydantic model.

    ``Page[User]`` of a generic class is one, too, with the fields that ``fields_of`` returns.
    """
    kind = get_origin(annotation) or annotation
    return isinstance(kind, type) and (
        dataclasses.is_dataclass(kind) or is_typeddict(kind) or hasattr(kind, "__struct_fields__") or is_pydantic(kind)
    )


def is_pydantic(annotation: object) -> TypeGuard[Any]:
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


def structure_converter(
    structure: Any, parameter: str, own: OwnTypes = NO_OWN_TYPES, many: bool = False
) -> StructureConverter:
    """Return the converter for a structure, or for a list of ``many``.

    Raises ``SetupError`` if msgspec is missing, or can't make it.
    """
    whole: Any = list[structure] if many else structure
    try:
        members = members_of(structure)
        is_all_pydantic = all(map(is_pydantic, members))
        if is_all_pydantic:  # which has been imported
            adapter = sys.modules["pydantic"].TypeAdapter(whole)
        else:
            convert = _by_msgspec(structure, parameter, own)
        kinds = kinds_in(structure)
        lists = [field.name for one in members for field in fields_of(one) if elements_of(field.kind) is not None]
    except (TypeError, NameError, AttributeError, SyntaxError) as error:
        advice = ": write class Cat(msgspec.Struct, tag=True), or take pydantic models" if len(members) > 1 else ""
        raise SetupError(
            f"parameter {parameter!r} is a {name_of(structure)}, which can't be made: {error}{advice}"
        ) from None
    from decimal import Decimal  # only applications with structures need it

    _check_fields(structure, kinds, is_all_pydantic, parameter)
    is_hashed = any(map(_has_chosen_hashes, kinds))
    has_numbers = Decimal in kinds or (float in kinds and is_all_pydantic)  # it takes the text "nan" for a float

    def make(document: object, strict: bool, kind: object) -> object:
        made = _by_pydantic(adapter, document, strict) if is_all_pydantic else convert(document, strict, kind)
        if has_numbers or not strict:
            _check_numbers(made)
        return made

    def made_of(given: Any, place: str) -> object:
        strict, is_form = place == "json", place == "form"
        document = given if strict else _read_fields(members, nested(given) if is_form else given, own, is_form)
        try:
            if is_hashed:
                _check_sizes(document, is_bounded=not many)
            return make(document, strict, whole)
        except ValueError as error:
            again = None if is_all_pydantic else partial(make, strict=strict)
            raise Refused(error, document, whole, again, own) from None

    return StructureConverter(made_of, lists)


def _check_fields(structure: Any, kinds: Sequence[object], is_all_pydantic: bool, parameter: str) -> None:
    """Raise ``SetupError`` for a field that no body may set, or whose constraint nothing would check."""
    from fractions import Fraction  # only applications with structures need it

    about = f"parameter {parameter!r} is a {name_of(structure)}"
    if UploadFile in kinds:
        raise SetupError(
            f"{about} with an UploadFile, and only parameters are files: write photo: UploadFile beside {parameter}"
        )
    if Fraction in kinds:
        raise SetupError(f'{about} with a Fraction, which takes minutes to make of "1e99999999": use a Decimal')
    outside = [] if is_all_pydantic else [*_fields_outside_init(kinds)]
    if outside:  # msgspec would set it all the same
        raise SetupError(
            f"{about}, and a body must not set {outside[0]}, which has init=False: have a class with the fields that a "
            "body may set, or make it a property"
        )
    _check_constraints(structure, filter(is_structure, kinds), is_all_pydantic, parameter)


def _by_pydantic(adapter: Any, document: object, is_json: bool) -> object:
    """Make a structure of a document, or of a form's texts, which are never taken strictly.

    A strict model takes "2026-01-31" for a date in JSON alone, so a refused document is read as JSON again.
    """
    try:
        return adapter.validate_python(document, strict=is_json and None)
    except ValueError as error:
        if not is_json:
            raise
        refused = error
    try:
        return adapter.validate_json(json.dumps(document))
    except ValueError as error:
        again: Any = error
    is_unreadable = again.error_count() == 1 and again.errors()[0]["type"] == "json_invalid"  # of half a surrogate
    raise refused if is_unreadable else again


def _by_msgspec(structure: Any, parameter: str, own: OwnTypes) -> Callable[[object, bool, Any], object]:
    """Return a function that makes a structure, or a part of one, of a document, strictly or of a form's texts."""
    try:
        import msgspec
    except ImportError:
        raise SetupError(
            f'parameter {parameter!r} is a {name_of(structure)}: install msgspec, pip install "micropie-dual[standard]"'
        ) from None

    msgspec.json.Decoder(structure)  # raises TypeError for a structure that msgspec can't make
    decoded = {kind for kind in kinds_in(structure) if isinstance(kind, type) and kind in own.decoders}
    for kind in decoded:
        if not isinstance(msgspec.inspect.type_info(kind), msgspec.inspect.CustomType):
            raise SetupError(
                f"parameter {parameter!r} is a {name_of(structure)} with a {kind.__name__}, which msgspec makes by "
                "itself there: App(decoders=...) makes plain classes in a structure, and no dataclass, Struct, Enum "
                "or type of the standard library"
            )
    converters = {kind: converter_for(kind, parameter, own) for kind in (*decoded, *_OF_PARAMETERS)}
    _check_required_fields(structure, parameter, {*converters, UploadFile})  # of which ``_check_fields`` tells more

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

    def convert(document: object, strict: bool, kind: Any) -> object:
        try:
            return _convert(document, kind, strict, from_custom)
        except msgspec.ValidationError as error:  # not a ValueError in msgspec
            raise ValueError(_explained(str(error), structure)) from error.__cause__  # an exception of the author's

    return convert


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


def with_fields_of(kind: Any, value: object, is_made: bool, is_flat: bool) -> object:
    """Return a value with the fields of a structure alone, at any depth. Raises ``ValueError`` if it does not fit.

    ``is_made``: it is an object of the structure's class, or a list of such objects. ``is_flat``: the structure has no
    others inside.
    """
    import msgspec

    try:
        if not is_made:
            value = _made_of(value, kind)
        return value if is_flat else _annotated_part(value, kind)
    except msgspec.ValidationError as error:
        raise ValueError(str(error)) from None


def _annotated_part(value: Any, hint: Any) -> Any:
    """Return a value without the fields that objects in it have beside those of their annotations.

    An object of exactly the class stays as it is, and is copied if one inside of it loses something: an author's
    ``__post_init__`` does not run again. Any other object becomes one of the class, by msgspec, which takes an object
    of the right class as it is, whatever is inside it.
    """
    kinds = _alternatives(hint)
    own = next((one for one in kinds if (get_origin(one) or one) is type(value)), None)
    structures = [one for one in kinds if is_structure(one) and not is_pydantic(one)]
    if own in structures:
        inside = _structures_inside(own)
        parts = ((name, getattr(value, name, None), inner) for name, inner in inside.items())
        return _copied(
            value, {name: new for name, old, inner in parts if (new := _annotated_part(old, inner)) is not old}
        )
    typed_dict = next((one for one in structures if is_typeddict(get_origin(one) or one)), None)
    container = next((one for one in kinds if one not in structures and get_args(one)), None)
    if isinstance(value, dict) and (typed_dict or container):
        hints = _hints_of(typed_dict) if typed_dict else dict.fromkeys(value, get_args(container)[-1])
        return {name: _annotated_part(one, hints[name]) for name, one in value.items() if name in hints}
    if isinstance(value, list | tuple | Set | deque) and container:
        elements = elements_of(container) or repeat(get_args(container)[0])
        return [_annotated_part(one, inner) for one, inner in zip(value, elements, strict=False)]
    model = next((base for base in type(value).__mro__ if base in kinds and is_pydantic(base)), None)
    if model is not None and model is not own:
        write = _adapter(model).dump_python
        return write(value, mode="json", by_alias=True, warnings=False, fallback=lambda one: loads(dumps(one)))
    if (
        own
        or not any(map(is_structure, kinds))
        or (type(value).__module__ == "builtins" and not isinstance(value, dict))
    ):
        return value
    return _annotated_part(_made_of(value, hint), hint)


def _alternatives(hint: Any) -> list[Any]:
    """Return the members of a union but None, or the one annotation."""
    kind, _ = bare(hint)
    return [bare(one)[0] for one in get_args(kind)] if get_origin(kind) in (Union, types.UnionType) else [kind]


@lru_cache(maxsize=256)
def _adapter(model: type) -> Any:
    return sys.modules["pydantic"].TypeAdapter(model)


def _made_of(value: Any, hint: Any) -> Any:
    """Return a structure made of an object of another class, or of a dict. A derived object needs no tag."""
    import msgspec

    kinds = _alternatives(hint)
    nearest = (one for base in type(value).__mro__[:-1] for one in kinds if (get_origin(one) or one) is base)
    # Not strictly: databases have 0 and 1 for booleans.
    return msgspec.convert(value, next(nearest, hint), strict=False, from_attributes=True, dec_hook=_model_of)


def _model_of(kind: Any, given: object) -> object:
    """Return a pydantic model made of attributes or of a dict. msgspec checks the class of anything else."""
    if is_pydantic(kind) and not isinstance(given, kind):
        return _adapter(kind).validate_python(given, from_attributes=True)
    return given


def _copied(value: Any, changes: Mapping[str, object]) -> Any:
    if not changes:
        return value
    copied = copy.copy(value)
    change: Callable[[Any, str, Any], None] = object.__setattr__  # a frozen dataclass has another
    if hasattr(value, "__struct_fields__"):
        import msgspec

        change = msgspec.structs.force_setattr
    for name, part in changes.items():
        change(copied, name, part)
    return copied


@lru_cache(maxsize=256)
def _structures_inside(structure: Any) -> Mapping[str, Any]:
    """Return the annotations of a structure's attributes that have structures, as far as they can be read."""
    try:
        return {name: hint for name, hint in _hints_of(structure).items() if any(map(is_structure, kinds_in(hint)))}
    except (NameError, AttributeError, SyntaxError, TypeError):
        return {}


def has_structures_inside(structure: Any) -> bool:
    """Return whether a field of a structure may be another one, as far as its annotations can be read."""
    return bool(_structures_inside(structure))


def _check_constraints(structure: Any, inside: Iterable[Any], is_all_pydantic: bool, parameter: str) -> None:
    """Raise ``SetupError`` for a field's constraint that the library does not know: every value would be taken."""
    known, unknown, advice = (
        ("pydantic", ("msgspec",), "pydantic.Field(...)")
        if is_all_pydantic
        else ("msgspec", ("annotated_types", "pydantic"), "msgspec.Meta(...) in its place, or take a pydantic model")
    )
    fields = [(owner, field) for owner in inside for field in fields_of(owner)]
    for owner, field in fields:
        parts = kinds_in(without_aliases(field.hint), are_fields_in=False)
        for item in chain.from_iterable(getattr(part, "__metadata__", ()) for part in parts):
            if restricts(item, unknown):
                constraint = type(item).__name__.removesuffix("Info")  # pydantic's Field makes a FieldInfo
                raise SetupError(
                    f"parameter {parameter!r} is a {name_of(structure)}, which {known} makes, and {known} does not "
                    f"enforce the {constraint} of {owner.__name__}.{field.name}: write {advice}"
                )


# Types of parameters that msgspec does not know.
_OF_PARAMETERS = (Path, IPv4Address, IPv6Address, IPv4Network, IPv6Network)

# One of each kind that a document has.
_DOCUMENTS: Sequence[object] = ("", 0, 0.5, True, None, [], {})


def _check_required_fields(structure: Any, parameter: str, converters: Collection[type]) -> None:
    """Raise ``SetupError`` for a field whose type msgspec makes of no document: every request would be refused."""
    from msgspec import inspect

    waiting = [*inspect.multi_type_info(members_of(structure))]
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
    """Return msgspec's sentence; where it quotes a value that is no tag, say which ones there are."""
    _, dash, place = problem.rpartition(" - at ")
    if problem.startswith("Invalid value "):
        configs = [getattr(get_origin(one) or one, "__struct_config__", None) for one in members_of(structure)]
        tags = [str(one.tag) for one in configs if one is not None and place == f"`$.{one.tag_field}`"]
        return f"{'Expected one of ' + ', '.join(tags) if tags else 'Invalid value'}{dash}{place}"
    return problem


@lru_cache(maxsize=256)
def fields_of(structure: Any) -> Sequence[Field]:
    """Return the fields of a structure, with all that is said of them."""
    if is_pydantic(structure):
        return [
            _field(
                field.validation_alias if isinstance(field.validation_alias, str) else name,
                Annotated[(field.annotation, *field.metadata)] if field.metadata else field.annotation,
                field.is_required(),
            )
            for name, field in structure.model_fields.items()
        ]
    from msgspec import inspect

    hints = _hints_of(structure)
    info: Any = inspect.type_info(structure)
    return [_field(one.encode_name, _with_default(hints[one.name], one.default), one.required) for one in info.fields]


def _with_default(hint: Any, default: object) -> Any:
    """Return an annotation with pydantic's ``Field`` in the place of a default: ``pieces: int = Field(gt=0)``."""
    return Annotated[hint, default] if type(default).__name__ == "FieldInfo" else hint


@lru_cache(maxsize=256)
def _hints_of(structure: Any) -> dict[str, Any]:
    """Return the annotations of a structure's attributes, with types in the place of a generic class's variables."""
    owner = get_origin(structure) or structure
    given: dict[Any, dict[Any, Any]] = {owner: _types_for(structure, {})}
    hints: dict[str, Any] = {}
    for base in owner.__mro__:  # each before those that it is derived from
        given |= {get_origin(one): _types_for(one, given.get(base, {})) for one in vars(base).get("__orig_bases__", ())}
        found = get_type_hints(base, include_extras=True)
        hints = {name: with_types(found[name], given.get(base, {})) for name in get_annotations(base)} | hints
    needing = (Required, NotRequired)
    return {
        name: without_aliases(get_args(hint)[0] if get_origin(hint) in needing else hint)
        for name, hint in hints.items()
    }


def _types_for(alias: Any, given: Mapping[Any, Any]) -> dict[Any, Any]:
    """Return the types that ``Page[User]`` has for the type variables of ``Page``."""
    variables = getattr(get_origin(alias), "__parameters__", ())
    return dict(zip(variables, (with_types(one, given) for one in get_args(alias)), strict=False))


def _field(name: str, hint: Any, required: bool) -> Field:
    kind, optional = bare(hint)
    return Field(name, hint, required, kind, optional, members_of(kind))


def bare(hint: Any) -> tuple[Any, bool]:
    """Return the X of ``X``, ``X | None`` and ``Annotated[X, ...]``; whether it is optional."""
    while get_origin(hint) is Annotated or isinstance(hint, NewType):
        hint = hint.__supertype__ if isinstance(hint, NewType) else get_args(hint)[0]
    inner, optional = without_none(hint)
    return (bare(inner)[0], True) if optional else (hint, False)


def without_none(hint: Any) -> tuple[Any, bool]:
    """Return the X of ``X | None``, and whether it is one."""
    members = [one for one in get_args(hint) if one is not types.NoneType]
    if get_origin(hint) in (Union, types.UnionType) and len(members) < len(get_args(hint)):
        return Union[tuple(members)], True  # noqa: UP007 - it may be of one
    return hint, False


def elements_of(kind: object) -> Iterator[Any] | None:
    """Return the annotations of a collection's elements, one after the other; None for another type."""
    if (get_origin(kind) or kind) not in COLLECTIONS:
        return None
    first, *others = get_args(kind) or (Any,)
    is_fixed = get_origin(kind) is tuple and others != [Ellipsis]
    return chain([first, *others], repeat(Any)) if is_fixed else repeat(first)


def kinds_in(annotation: object, are_fields_in: bool = True) -> list[object]:
    """Return all types in an annotation, and in those of structures in it: ``set[int]``, ``int``, ..."""
    kinds: list[object] = []  # no set: the metadata of an ``Annotated`` may not be hashable
    structures: set[type] = set()
    waiting: list[object] = [annotation]
    while waiting:
        kind = waiting.pop()
        kinds.append(kind)
        origin = get_origin(kind)
        if are_fields_in and is_structure(kind) and kind not in structures:
            structures.add(kind)
            waiting.extend(without_aliases(field.hint) for field in fields_of(kind))
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


def _check_sizes(document: object, is_bounded: bool) -> None:
    """Raise ``ValueError`` for an array or object that would make too large a set or dict.

    ``is_bounded``: whether the document itself may be one.
    """
    waiting = [document] if is_bounded or not isinstance(document, list) else document[:]
    while waiting:
        value = waiting.pop()
        if isinstance(value, list | dict):
            if len(value) > MAX_HASHED:
                raise ValueError(f"Expected at most {MAX_HASHED} values in an array or object")
            waiting.extend(value.values() if isinstance(value, dict) else value)


def _check_numbers(made: object) -> None:
    """Raise ``ValueError`` for a float or Decimal anywhere in a structure that no parameter of its type may have."""
    from decimal import Decimal

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
            names = next(getattr(kind, name) for name in _FIELD_NAMES if hasattr(kind, name))
            waiting.extend(getattr(value, name) for name in names)


# -- forms -------------------------------------------------------------------------------------------------------------

# Read as parameters of these types are: browsers send a time without seconds, and a box is "on".
_AS_PARAMETERS = (bool, datetime, time)

_ABSENT = object()


def _read_fields(
    members: Sequence[type], tree: Mapping[str, Any], own: OwnTypes, is_form: bool = True
) -> dict[str, object]:
    """Return the document that a form stands for, as msgspec and pydantic take it. Names of no field are kept, but for
    the token's: the form has it for ``CSRFMiddleware``, and the structure may forbid others than its own.
    """
    document = {name: _as_it_is(node) for name, node in tree.items() if name != CSRF_FIELD}
    for field in chain.from_iterable(map(fields_of, members)):
        if field.name in tree or (is_form and len(members) == 1):
            value = _read(field, tree.get(field.name), own)
            if value is _ABSENT:
                document.pop(field.name, None)
            else:
                document[field.name] = value
    return document


def _read(field: Field, node: Any, own: OwnTypes) -> object:
    """Return what a field of a form stands for: its texts, or the fields inside it; None if it was not sent.

    A box that is not ticked and a list without a choice send nothing, and an entry that is left empty the text "".
    """
    kind = field.kind
    elements = elements_of(kind)
    if elements is not None:
        if node is None:
            return _ABSENT if field.optional else []
        parts = rows(node) if isinstance(node, dict) else [[text] for text in node]
        return [_read(_field("", one, True), part, own) for one, part in zip(elements, parts, strict=False)]
    if node is None:
        return False if kind is bool and not field.optional else _ABSENT
    if isinstance(node, dict):
        return _read_fields(field.members, node, own) if field.members else _as_it_is(node)
    if len(node) > 1 and kind is not bool:  # some pages have a hidden "false" before each box
        return node
    text = node[-1]
    if text == "" and field.optional:
        return None
    is_left_empty = text == "" and not field.required
    if kind not in _AS_PARAMETERS and not is_left_empty:
        return text
    try:
        value = described_as(field.hint, own).from_text(text)
    except ValueError:
        return _ABSENT if is_left_empty else text
    return value if kind in _AS_PARAMETERS else text


def _as_it_is(node: Any) -> object:
    """Return the texts of a field, a single one as it is, and those of the fields inside it."""
    if isinstance(node, dict):
        return {str(name): _as_it_is(one) for name, one in node.items()}
    return node[0] if len(node) == 1 else node


def described_as(hint: object, own: OwnTypes) -> Converter:
    """Return the converter of a field, to describe it; that of any value where no parameter could be of its type."""
    while isinstance(hint, NewType):
        hint = hint.__supertype__
    try:
        return converter_for(hint, "", own)
    except SetupError:  # a structure, or a constraint that only the library knows
        pass
    if get_origin(hint) is not Annotated:
        return ANYTHING
    kind, *metadata = get_args(hint)
    messages = [one for one in metadata if isinstance(one, Message)]
    return described_as(kind, own)._replace(message=messages[-1] if messages else Message())
