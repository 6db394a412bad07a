"""Read the fields of structures: dataclasses, attrs classes, TypedDicts, msgspec.Structs and
pydantic models.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import lru_cache
from inspect import get_annotations
from itertools import chain
from types import SimpleNamespace
from typing import (
    Annotated,
    Any,
    Final,
    Generic,
    Literal,
    NamedTuple,
    NewType,
    NotRequired,
    Protocol,
    Required,
    TypeGuard,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

from micropie._core.binding.annotations import (
    COLLECTIONS,
    MAPPINGS,
    UNREADABLE,
    Hint,
    bare,
    element_types,
    metadata_of,
    owner_of,
    remembered,
    takes_json_text,
    type_name,
    united,
    unreadable,
    with_types,
    without_aliases,
    without_unset,
)
from micropie._core.errors import SetupError
from micropie._core.http.json import declared_fields, msgspec


class Field(NamedTuple):
    """A field of a structure.

    - ``name``: its name in JSON or a form.
    - ``attribute``: its name in Python.
    - ``hint``: its annotation, without ``UNSET`` or ``MISSING``.
    - ``required``: whether clients must send the field.
    - ``kind``: the annotation without ``Annotated`` and without None.
    - ``optional``: whether the annotation allows None.
    - ``default``: the value of the field if the client doesn't send it.
    - ``omissible``: whether the annotation has a value for a field that isn't sent: None, ``UNSET``
      or ``MISSING``.
    - ``members``: the structures of ``kind``, as ``members_of`` returns them.
    - ``elements``: the fields for the first elements of a collection, and that for all further
      elements. None if ``kind`` is not a collection.
    - ``values``: the field for the values of a dict. None if ``kind`` is not a dict.
    - ``others``: the other names by which pydantic reads the field.
    - ``is_json_text``: whether the field is pydantic's ``Json``, so that a form's text is its
      value.
    """

    name: str
    attribute: str
    hint: Hint
    required: bool
    kind: Hint
    optional: bool
    default: object
    omissible: bool
    members: tuple[type, ...]
    elements: tuple[Sequence[Field], Field] | None
    values: Field | None
    others: Sequence[str]
    is_json_text: bool


def field_of(
    hint: Hint,
    names: Sequence[str] = ("",),
    attribute: str = "",
    required: bool = True,
    default: object = None,
) -> Field:
    """Return the field for an annotation. Without a name, it is that of an element, or of a whole
    document.
    """
    name, *others = names
    sent = without_unset(hint)
    kind, optional = bare(sent)
    types = element_types(kind)
    elements = None if types is None else ([*map(field_of, types[0])], field_of(types[1]))
    values = None
    if get_origin(kind) in MAPPINGS:
        values = field_of((get_args(kind) or (Any,))[-1])
    return Field(
        name=name,
        attribute=attribute,
        hint=sent,
        required=required,
        kind=kind,
        optional=optional,
        default=default,
        omissible=optional or sent is not hint,
        members=members_of(kind),
        elements=elements,
        values=values,
        others=others,
        is_json_text=any(map(takes_json_text, united(sent))),
    )


def is_grid(field: Field) -> bool:
    """Return whether a field is a list of lists, of which no form sends the values one by one."""
    return field.elements is not None and field.elements[1].elements is not None


def is_structure(annotation: object) -> TypeGuard[type]:
    """Return whether an annotation is a structure: a dataclass, attrs class, TypedDict,
    msgspec.Struct or pydantic model. A whole body can be converted to a structure.

    If ``Page`` is a generic structure, ``Page[User]`` is a structure as well.
    """
    kind = owner_of(annotation)
    return isinstance(kind, type) and (
        dataclasses.is_dataclass(kind)
        or is_typed_dict(kind)
        or hasattr(kind, "__struct_fields__")
        or hasattr(kind, "__attrs_attrs__")
        or is_pydantic(kind)
    )


def is_typed_dict(kind: object) -> bool:
    """Return whether a class is a TypedDict, of ``typing`` or of ``typing_extensions``, which has
    its own class. pydantic needs the latter before Python 3.12.
    """
    return isinstance(kind, type) and hasattr(kind, "__required_keys__")


def is_named_tuple(kind: object) -> TypeGuard[type]:
    """Return whether a class is a NamedTuple with annotations."""
    return hasattr(owner_of(kind), "_field_defaults")


def has_fields(kind: object) -> TypeGuard[type]:
    """Return whether a type is a structure or a named tuple."""
    return is_structure(kind) or is_named_tuple(kind)


def is_pydantic(annotation: object) -> TypeGuard[Any]:
    """Return whether an annotation is a pydantic model or one of pydantic's dataclasses, without
    importing pydantic.
    """
    return "__pydantic_serializer__" in getattr(owner_of(annotation), "__dict__", ())


def members_of(annotation: object) -> tuple[type, ...]:
    """Return the members of a union of structures, without None. If the annotation is itself a
    structure, return a tuple with only that structure. Return () for any other annotation.
    """
    members = united(_unannotated(annotation))
    if len(members) > 1:
        found = [*map(members_of, members)]
        return (*chain(*found),) if all(found) else ()
    return (kind,) if is_structure(kind := members[0]) else ()


def tag_of(structure: object) -> dict[str, object]:
    """Return the tag of a ``Struct`` by the name of its field, or {} if there is none."""
    config = getattr(owner_of(structure), "__struct_config__", None)
    return {} if config is None or config.tag is None else {config.tag_field: config.tag}


def chosen(
    structures: Sequence[type], document: Mapping[str, object]
) -> tuple[type | None, dict[str, object]]:
    """Return the structure of a union that a document's tag selects, and the tag as msgspec
    compares it. A form has "1" for the tag 1. Return None, and {}, if no tag selects a structure.

    In pydantic's models, a field that is a Literal is the tag.
    """
    for one in structures:
        tag = tag_of(one)
        tags: Mapping[str, Sequence[object]] = {name: (value,) for name, value in tag.items()}
        if not tag and len(structures) > 1:
            literals = (field for field in fields_of(one) if get_origin(field.kind) is Literal)
            tags = {
                field.name: [getattr(one, "value", one) for one in get_args(field.kind)]
                for field in literals
            }
        found = [str(document[name]) in map(str, tags[name]) for name in tags if name in document]
        if all(found) and (found or len(structures) == 1):
            return one, tag if found else {}
    return None, {}


@remembered
def structures_of(
    annotation: Hint, is_wanted: Callable[[object], TypeGuard[type]] = is_structure
) -> tuple[type, ...]:
    """Return the structures in an annotation: the annotation itself if it is one, or those inside
    its unions, collections and dict values, at any depth.

    ``is_wanted``: which types to return, instead of all structures.
    """
    kind = _unannotated(annotation)
    if is_wanted(kind):
        return (kind,)
    is_nest = len(united(kind)) > 1 or get_origin(kind) in (*COLLECTIONS, *MAPPINGS)
    found = (structures_of(one, is_wanted) for one in (get_args(kind) if is_nest else ()))
    return tuple(dict.fromkeys(chain.from_iterable(found)))


def holds_structures(kind: object) -> TypeGuard[type]:
    """Return whether a type is a structure, or a named tuple that contains one.

    Raises ``SetupError`` if the annotations of a named tuple can't be evaluated.
    """
    waiting = [kind]
    for one in waiting:
        if is_structure(one):
            return True
        if is_named_tuple(one):
            try:
                hints = hints_of_class(one).values()
            except UNREADABLE as error:
                raise unreadable(one, error) from None
            inside = chain.from_iterable(map(written_kinds, hints))
            waiting += [inner for inner in inside if inner not in waiting]
    return False


def _unannotated(annotation: Any) -> Any:
    """Return X for ``Annotated[X, ...]``. If the metadata contains ``pydantic.Json``, return the
    annotation unchanged, because such a value is sent as a string.
    """
    is_kept = not metadata_of(annotation) or takes_json_text(annotation)
    return annotation if is_kept else annotation.__origin__


def structure_name(structure: object) -> str:
    """Return the name of a structure, or for a union the names of its structures: "Cat | Dog"."""
    return " | ".join(one.__name__ for one in structures_of(structure))


@lru_cache(maxsize=256)
def fields_of(structure: type) -> Sequence[Field]:
    """Return the fields of a structure or a named tuple."""
    owner: Any = owner_of(structure)
    if is_pydantic(structure):
        infos = getattr(owner, "model_fields", getattr(owner, "__pydantic_fields__", {}))
        late, given = _late_hints(structure, infos), _types_for(structure)
        found = [
            (
                name,
                _names_in(owner, name, one.validation_alias),
                late.get(name) or with_types(one.annotation, given),
                one.metadata,
                one.is_required(),
                one.default,
            )
            for name, one in infos.items()
            if getattr(one, "init", None) is not False  # of a dataclass
        ]
    else:
        # a named tuple may have no annotations
        hints = {**dict.fromkeys(getattr(owner, "_fields", ()), Any), **hints_of_class(structure)}
        # The default of a dataclass's field may be pydantic's Field, whose constraints are used:
        # ``pieces: int = Field(gt=0)``.
        found = [
            (
                name,
                [sent],
                hints[name],
                [default] if type(default).__name__ == "FieldInfo" else [],
                is_needed,
                default,
            )
            for name, sent, is_needed, default in _stated_in(structure)
        ]
    fields = []
    for attribute, names, hint, metadata, required, default in found:
        hint = without_aliases(Annotated[(hint, *stated)] if (stated := [*metadata]) else hint)
        fields.append(field_of(hint, names, attribute, required, default))
    return fields


def _stated_in(structure: Any) -> Iterator[tuple[str, str, bool, object]]:
    """Yield the name of each field of a structure that is no model, or of a named tuple; its name
    in JSON; whether it is required; and its default.
    """
    owner: Any = owner_of(structure)
    if hasattr(owner, "__required_keys__"):
        for name, hint in _qualified_hints(structure).items():
            stated: Any = {Required: True, NotRequired: False}
            yield name, name, stated.get(get_origin(hint), name in owner.__required_keys__), ...
    elif hasattr(owner, "_field_defaults"):
        for name in owner._fields:
            yield name, name, name not in owner._field_defaults, owner._field_defaults.get(name)
    else:
        # msgspec's ``type_info`` would also read the structures inside, and refuses some unions
        is_struct = hasattr(owner, "__struct_fields__")
        nothing = getattr(sys.modules.get("attr"), "NOTHING", None)
        for one in msgspec().structs.fields(structure) if is_struct else declared_fields(owner):
            factory = getattr(one, "default_factory", getattr(one.default, "factory", nothing))
            default = factory() if factory in (list, dict, set) else one.default
            sent = getattr(one, "encode_name", one.name)
            # without a default, both are ``MISSING``, ``NODEFAULT`` or ``NOTHING``
            yield one.name, sent, one.default is factory, default


def _names_in(structure: object, name: str, alias: object) -> Sequence[str]:
    """Return the names by which a structure reads the field ``name``. pydantic's alias, or the name
    itself if it is one of several aliases, comes first.
    """
    config = getattr(structure, "model_config", getattr(structure, "__pydantic_config__", {}))
    generator = config.get("alias_generator")
    if alias is None and generator is not None:  # not called yet for the name of a later class
        generate = getattr(generator, "generate_aliases", lambda one: [generator(one), None])
        stated, alias, *_ = generate(name)
        alias = alias or stated
    found = [one for one in getattr(alias, "choices", [alias]) if isinstance(one, str)]
    found.sort(key=lambda one: one != name)
    if config.get("validate_by_alias") is False:
        found = []
    if not found or config.get("populate_by_name") or config.get("validate_by_name"):
        found.append(name)
    return [*dict.fromkeys(found)]


def _late_hints(model: type, infos: Mapping[str, Any]) -> Mapping[str, Hint]:
    """Return the annotations of a pydantic model by name if the model is older than a class that it
    names, or is generic and contains itself, because ``infos``, its fields, contain no class there.
    Otherwise return {}.

    ``model_rebuild()`` would evaluate it, but it changes the model: pydantic may then refuse the
    unions that contain it.
    """
    kinds = chain.from_iterable(written_kinds(one.annotation) for one in infos.values())
    unread = {"str", "ForwardRef", "PydanticRecursiveRef"}
    if not unread.isdisjoint(type(kind).__name__ for kind in kinds):
        with suppress(*UNREADABLE):  # pydantic itself finds classes inside of a function
            return hints_of_class(model)
    return {}


def _generic_of(kind: object) -> Mapping[str, Any]:
    """Return what pydantic stores about a generic model, or {} for any other type."""
    found: Mapping[str, Any] = getattr(kind, "__pydantic_generic_metadata__", {})
    return found


@lru_cache(maxsize=256)
def hints_of_class(structure: type) -> Mapping[str, Hint]:
    """Return the annotations of a structure's attributes, with the type variables of a generic
    class replaced with types. A free variable is replaced with its bound, as in msgspec.
    """
    hints = _qualified_hints(structure).items()
    return {name: without_aliases(_unqualified(hint)) for name, hint in hints}


def _qualified_hints(structure: type) -> Mapping[str, Hint]:
    owner = owner_of(structure)
    given = {owner_of(one): _types_for(one) for one in generic_bases(structure)}
    names: dict[str, Hint] = {}  # by which a generic model gets itself in its annotations
    for generic in map(_generic_of, owner.__mro__):
        if origin := generic.get("origin"):
            variables = _generic_of(origin)["parameters"]
            given[origin] = dict(zip(variables, generic["args"], strict=True))
            names |= zip(map(type_name, variables), generic["args"], strict=True)
    found = get_type_hints(owner, None, names or None, include_extras=True)
    hints: dict[str, Hint] = {}
    for base in owner.__mro__:  # subclasses come before their bases
        for name in get_annotations(base):
            hint = with_types(found[name], given.get(base, {}))
            free = (hint,) if isinstance(hint, TypeVar) else getattr(hint, "__parameters__", ())
            hints.setdefault(name, with_types(hint, {one: _bound_of(one) for one in free}))
    return hints


def _unqualified(hint: Hint) -> Hint:
    """Return X for ``Final[X]``, ``Required[X]``, ``NotRequired[X]`` and ``InitVar[X]``."""
    if isinstance(hint, dataclasses.InitVar):
        return hint.type
    is_qualified = get_origin(hint) in (Final, Required, NotRequired)
    return _unqualified(get_args(hint)[0]) if is_qualified else hint


def _bound_of(variable: Hint) -> Hint:
    """Return the bound of a type variable, the union of its constraints, or the variable itself."""
    constraints = getattr(variable, "__constraints__", ())
    bound = Union[constraints] if constraints else getattr(variable, "__bound__", None)  # noqa: UP007
    if bound is None:
        return variable
    # The bound may be the name of a class that is defined later.
    stated = SimpleNamespace(__annotations__={"bound": bound})
    names = vars(sys.modules[variable.__module__])
    return get_type_hints(stated, names, include_extras=True)["bound"]


def generic_bases(kind: Hint) -> Iterator[Hint]:
    """Yield a class, then its generic bases, with types in place of the type variables. For
    ``Page[User]``, of ``class Page(list[T])``, these are ``Page[User]`` and ``list[User]``.
    """
    yield kind
    owner = owner_of(kind)
    given = {owner: _types_for(kind)}
    for base in getattr(owner, "__mro__", ()):  # subclasses come before their bases
        for one in vars(base).get("__orig_bases__", ()):
            if get_origin(one) not in (Generic, Protocol):
                alias = with_types(one, given.get(base, {}))
                given[owner_of(alias)] = _types_for(alias)
                yield alias


def collection_of(kind: Hint) -> Hint:
    """Return ``list[User]`` for ``class Users(list[User])``, and any other type unchanged."""
    bases = (one for one in generic_bases(kind) if get_args(one))
    return next((one for one in bases if not hasattr(get_origin(one), "__orig_bases__")), kind)


def _types_for(alias: Hint) -> Mapping[Hint, Hint]:
    """Return the types that replace the type variables of a generic class, as a dict by variable.
    For ``Page[User]``, the type variable of ``Page`` is mapped to ``User``.
    """
    owner = owner_of(alias)
    # ``class Page(list[T])`` has no ``__parameters__``
    bases = (owner, *getattr(owner, "__orig_bases__", ()))
    variables = chain.from_iterable(getattr(one, "__parameters__", ()) for one in bases)
    return dict(zip(dict.fromkeys(variables), get_args(alias), strict=False))


def names_of(structure: object) -> Sequence[str]:
    """Return the names of the attributes of a structure that is no TypedDict and no model."""
    owner: Any = owner_of(structure)
    declared: Sequence[str] = [one.name for one in declared_fields(owner)]
    return declared or getattr(owner, "__struct_fields__", ())


def attributes_of(structure: Any) -> Mapping[str, Hint]:
    """Return the annotations of a structure's attributes, or of a TypedDict's keys."""
    owner = owner_of(structure)
    if hasattr(owner, "model_fields"):  # pydantic finds even the names inside of a function
        return {field.attribute: field.hint for field in fields_of(structure)}
    hints = hints_of_class(structure)
    return hints if is_typed_dict(owner) else {name: hints[name] for name in names_of(structure)}


def _type_of_extras(structure: type) -> Hint:
    """Return the type that a pydantic model or a TypedDict declares for the values of names that
    are no fields, or None.
    """
    owner = owner_of(structure)
    if any("__pydantic_extra__" in get_annotations(base) for base in owner.__mro__):
        return hints_of_class(structure)["__pydantic_extra__"]
    extras: Hint = getattr(owner, "__extra_items__", None)
    return extras


def refuse_extras(kinds: Iterable[object], about: str) -> None:
    """Raise ``SetupError`` for a TypedDict with ``extra_items`` (PEP 728), because msgspec leaves
    them out, as it does for a ``closed`` one.
    """
    for owner in filter(is_typed_dict, map(owner_of, kinds)):
        if repr(getattr(owner, "__extra_items__", None)).rpartition(".")[2] not in _NO_EXTRAS:
            raise SetupError(
                f"{about}: the extra_items of {owner.__name__} would be left out: write "
                'dict[str, ...], or a pydantic model with extra="allow"'
            )


_NO_EXTRAS = ("None", "NoExtraItems", "Never")


def root_of(hint: Hint) -> Hint:
    """Return the annotation of the value of pydantic's RootModel, or another annotation
    unchanged.
    """
    kind, _ = bare(hint)
    is_root = getattr(kind, "__pydantic_root_model__", False)
    return root_of(fields_of(kind)[0].hint) if is_root else hint


def rooted(field: Field) -> Field:
    """Return the field for the value of a RootModel, or another field unchanged."""
    if not getattr(field.kind, "__pydantic_root_model__", False):
        return field
    root = rooted(fields_of(field.kind)[0])
    return root._replace(
        name=field.name,
        attribute=field.attribute,
        required=field.required,
        optional=field.optional or root.optional,
        default=field.default,
        omissible=field.omissible or root.omissible,
        others=field.others,
    )


def hints_inside(kind: object) -> Iterable[Hint]:
    """Return the types directly inside of a structure or a named tuple: those of its fields and
    extras, and those given to a generic model. Return () for any other type.
    """
    if is_structure(kind):
        fields = (field.hint for field in fields_of(kind))
        return [*fields, _type_of_extras(kind), *_generic_of(kind).get("args", ())]
    return hints_of_class(kind).values() if is_named_tuple(kind) else ()


def layers_of(hint: Hint) -> Iterator[Hint]:
    """Yield an annotation and, at any depth, the members of its union, each also without
    ``Annotated``. The value of pydantic's RootModel is that of its only field.
    """
    yield hint
    root = root_of(hint)
    members = [root] if root is not hint else [*united(bare(hint)[0])]
    if members != [hint]:
        yield from chain.from_iterable(map(layers_of, members))


def elements_in(kind: Hint) -> tuple[Sequence[Hint], Hint] | None:
    """Return the annotations of an array's first elements, and that of all further elements. Return
    None if no array becomes this type.
    """
    if is_named_tuple(kind):
        return [*hints_of_class(kind).values()], Any
    config = getattr(owner_of(kind), "__struct_config__", None)
    if config is not None and config.array_like:
        return [*[Any] * len(tag_of(kind)), *(one.hint for one in fields_of(kind))], Any
    return element_types(kind)


def elements_of(field: Field) -> tuple[Sequence[Field], Field] | None:
    """Return the same as ``field.elements``, and those of a named tuple or an array-like Struct,
    which may contain itself. Return None for any other type.
    """
    if field.elements is not None or not has_fields(field.kind):
        return field.elements
    return _elements_with(field.kind)


@lru_cache(maxsize=256)
def _elements_with(kind: type) -> tuple[Sequence[Field], Field] | None:
    found = elements_in(kind)
    if found is None:
        return None
    needed = [*map(bool, tag_of(kind)), *(one.required for one in fields_of(kind))]
    first = zip(found[0], needed, strict=True)
    return [field_of(hint, required=is_needed) for hint, is_needed in first], field_of(found[1])


@remembered
def kinds_in(annotation: object, are_fields_in: bool = True) -> Sequence[object]:
    """Return an annotation and all types inside it, including those of the fields of structures and
    named tuples. For ``set[int]``, these are ``set[int]`` and ``int``.
    """
    kinds: dict[int, object] = {}  # by id, because metadata of ``Annotated`` may not be hashable
    read: set[object] = set()  # the structures whose fields are included
    waiting: list[object] = [annotation]
    while waiting:
        kind = waiting.pop()
        if id(kind) in kinds:  # the bound of a type variable may contain this variable again
            continue
        kinds[id(kind)] = kind
        if are_fields_in and has_fields(kind) and kind not in read:
            read.add(kind)
            waiting.extend(hints_inside(kind))
        origin = get_origin(kind)
        if origin is not Literal:
            waiting.extend(get_args(kind)[:1] if origin is Annotated else get_args(kind))
        if isinstance(kind, NewType):
            waiting.append(without_aliases(kind.__supertype__))
        if isinstance(kind, TypeVar):  # msgspec and pydantic use these types of a free variable
            given = (kind.__bound__, *kind.__constraints__, getattr(kind, "__default__", None))
            waiting.extend(map(without_aliases, given))
    return (*kinds.values(),)


def written_kinds(annotation: object) -> Sequence[object]:
    """Return an annotation and the types that are written in it, without those of fields."""
    return kinds_in(annotation, False)
