"""Read annotations: resolve aliases, type variables, ``Annotated`` and optional types."""

from __future__ import annotations

import builtins
import enum
import operator
import re
import types
from collections.abc import (
    Callable,
    Collection,
    Mapping,
    MutableMapping,
    MutableSequence,
    MutableSet,
    Sequence,
    Set,
)
from functools import wraps
from typing import (
    Annotated,
    Any,
    Concatenate,
    Literal,
    NewType,
    ParamSpec,
    TypeAlias,
    TypeGuard,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

from micropie._core.errors import SetupError
from micropie._core.execution.placement import AnyFunction

Hint: TypeAlias = object
"""The type of a variable that holds an annotation, such as a class, ``list[int]``, ``X | None`` or
a NewType. It is ``object``, because Python has no narrower type for all of these.
"""

_BUILTINS = vars(builtins)

# The exceptions that Python raises if it can't evaluate an annotation. CPython raises IndexError
# for the annotation "", and msgspec ``re.error`` for a pattern.
UNREADABLE = (NameError, AttributeError, SyntaxError, TypeError, IndexError, re.error)

# The types that arrays and objects in JSON become. What an abstract type stands for is the first of
# the built-in ones that is a subclass of it: a list for ``Sequence``, a set for ``Set``.
COLLECTIONS = (
    *(list, set, frozenset, tuple),
    *(Collection, Sequence, MutableSequence, Set, MutableSet),
)
MAPPINGS = (dict, Mapping, MutableMapping)


def with_types(annotation: Hint, given: Mapping[Hint, Hint]) -> Hint:
    """Return an annotation with its type variables replaced by the types in ``given``."""
    if get_origin(annotation) is None:
        return given.get(annotation, annotation)
    generic: Any = annotation
    variables = getattr(generic, "__parameters__", ())  # a bare ``typing.List`` has none
    return generic[tuple(given.get(one, one) for one in variables)] if variables else generic


def without_aliases(annotation: Hint, around: tuple[object, ...] = ()) -> Hint:
    """Return an annotation with every alias, as defined by ``type Alias = ...``, replaced by its
    type.

    Where an alias is used inside its own definition, it is replaced by ``Any``. ``around``: the
    aliases that contain this annotation. ``Literal["a", None]`` becomes ``Literal["a"] | None``.
    """
    if type(annotation) is type:  # like most annotations
        return annotation
    origin, arguments = get_origin(annotation), get_args(annotation)
    alias = origin or annotation
    inner = tuple(without_aliases(one, around) for one in arguments)
    # Without the statement ``type``, an alias contains its own name: ``list["Tree[T]"]``.
    name = getattr(alias, "__forward_arg__", alias)
    own = isinstance(name, str) and name.partition("[")[0] in map(type_name, around)
    if own or alias in around:
        return Any
    if hasattr(alias, "__value__") and hasattr(alias, "__type_params__"):
        given = dict(zip(alias.__type_params__, inner, strict=True)) if arguments else {}
        return without_aliases(with_types(alias.__value__, given), (*around, alias))
    if origin is Literal:
        others = tuple(one for one in arguments if one is not None)
        return annotation if others == arguments or not others else Literal[others] | None
    return with_arguments(annotation, inner)


def with_arguments(annotation: Hint, arguments: tuple[object, ...]) -> Hint:
    """Return a generic type with other arguments, or any other annotation unchanged."""
    if all(map(operator.is_, get_args(annotation), arguments)):
        return annotation
    origin: Any = get_origin(annotation)
    return (Union if origin is types.UnionType else origin)[arguments]


def hints_of(annotations: Mapping[str, object], function: AnyFunction) -> dict[str, Hint]:
    """Return ``annotations`` with strings evaluated to types. Names are looked up in the module of
    ``function``.

    Raises ``SetupError`` for an annotation that can't be evaluated.
    """
    names = getattr(function, "__globals__", {})
    hints, others = dict[str, Hint](), dict[str, object]()
    for name, hint in annotations.items():
        # Most annotations are a class or its name. Look up such a name directly, because
        # ``get_type_hints`` would take longer than the rest of a route's setup.
        hints[name] = names.get(hint, _BUILTINS.get(hint)) if isinstance(hint, str) else hint
        if type(hints[name]) is not type:
            others[name] = hint
    if others:
        stated = types.SimpleNamespace(__annotations__=others)
        try:
            found = get_type_hints(stated, names, include_extras=True)
            hints |= {name: without_aliases(hint) for name, hint in found.items()}
        except UNREADABLE as error:
            what = "the result annotation" if "return" in others else "an annotation"
            raise unreadable(function, error, what) from None
    return hints


def unreadable(owner: AnyFunction, error: Exception, what: str = "an annotation") -> SetupError:
    """Return the error for an annotation that can't be evaluated. The message says how to correct
    it.

    ``owner``: the function or class that has the annotation. ``what``: the beginning of the
    message.
    """
    name = getattr(owner, "__qualname__", "a handler")
    return SetupError(
        f"{what} of {name} can't be evaluated: {str(error).partition(chr(10))[0]}; correct the "
        'annotation, or import its names at the top of the module, not under "if TYPE_CHECKING:"'
    )


P = ParamSpec("P")
T = TypeVar("T")
_MOST_REMEMBERED = 1000


def remembered(
    function: Callable[Concatenate[Hint, P], T],
) -> Callable[Concatenate[Hint, P], T]:
    """Keep the results of a function of an annotation, which each handler with this annotation asks
    for several times. By id, because metadata may not be hashable.
    """
    known: dict[tuple[object, ...], tuple[Hint, T]] = {}

    @wraps(function)
    def ask(hint: Hint, /, *others: P.args, **named: P.kwargs) -> T:
        key = (id(hint), *others, *named.values())
        found = known.get(key)
        if found is None:
            if len(known) == _MOST_REMEMBERED:
                known.clear()
            found = known[key] = hint, function(hint, *others, **named)
        return found[1]

    return ask


def owner_of(hint: Hint) -> Any:
    """Return the class or the form behind an annotation: ``list`` for ``list[int]``."""
    return hint if type(hint) is type else get_origin(hint) or hint


def metadata_of(hint: Hint) -> tuple[Any, ...]:
    """Return the metadata of an ``Annotated``, or () for any other annotation."""
    metadata: tuple[Any, ...] = getattr(hint, "__metadata__", ())
    return metadata


def without_metadata(hint: Hint) -> Hint:
    """Return an annotation without any ``Annotated``, also inside of it."""
    inner = get_args(hint)[0] if get_origin(hint) is Annotated else hint
    return with_arguments(inner, tuple(map(without_metadata, get_args(inner))))


def parts_of(annotation: Any) -> tuple[object, Sequence[object]]:
    """Return the type that a NewType or an ``Annotated`` wraps, and the metadata. Return any other
    annotation unchanged, with no metadata.
    """
    if isinstance(annotation, NewType):
        return annotation.__supertype__, ()
    metadata = metadata_of(annotation)
    return annotation.__origin__ if metadata else annotation, metadata


def wrapped_type(hint: Hint) -> Hint:
    """Return the type inside of any ``Annotated`` and NewType around it."""
    inner, _ = parts_of(hint)
    return hint if inner is hint else wrapped_type(inner)


def bare(hint: Hint) -> tuple[Hint, bool]:
    """Return the type X from ``X``, ``X | None`` or ``Annotated[X, ...]``, and whether the
    annotation allows None.
    """
    inner, optional = without_none(wrapped_type(hint))
    return (bare(inner)[0], True) if optional else (inner, False)


def without_none(hint: Hint) -> tuple[Hint, bool]:
    """Return (X, True) for ``X | None``. Return (annotation, False) for any other annotation."""
    members = united(hint)
    if types.NoneType not in members:
        return hint, False
    others = tuple(one for one in members if one is not types.NoneType)
    if others:
        return Union[others], True  # noqa: UP007 - ``others`` may have only one type
    return hint, False


def united(hint: Hint) -> tuple[object, ...]:
    """Return the members of a union. For any other annotation, return a tuple with only the
    annotation.
    """
    is_union = owner_of(hint) in (Union, types.UnionType)
    return (is_union and get_args(hint)) or (hint,)


def is_unset(item: object) -> bool:
    """Return whether ``item`` is msgspec's ``UNSET`` or its type, or a sentinel (PEP 661), such as
    pydantic's ``MISSING``. They stand for values that aren't sent.
    """
    kind = item if isinstance(item, type) else type(item)
    # The class has these names in typing_extensions, and in Python since 3.15.
    is_sentinel = kind.__name__ in ("Sentinel", "sentinel")
    return is_sentinel or f"{kind.__module__}.{kind.__name__}" == "msgspec.UnsetType"


def without_unset(hint: Hint) -> Hint:
    """Return an annotation without the types of ``is_unset`` in its union."""
    if get_origin(hint) is Annotated:
        kind, *metadata = get_args(hint)
        return with_arguments(hint, (without_unset(kind), *metadata))
    members = united(hint)
    others = tuple(one for one in members if not is_unset(one))
    return hint if others in (members, ()) else Union[others]  # noqa: UP007 - may be one type


def built_in(kind: Hint) -> type | None:
    """Return the built-in class of the values that are made for a type of ``COLLECTIONS``, or None
    for any other type.
    """
    owner: Any = owner_of(kind)
    if owner not in COLLECTIONS:
        return None
    return next(one for one in COLLECTIONS if issubclass(one, owner))


def element_types(kind: Hint) -> tuple[Sequence[Hint], Hint] | None:
    """Return the annotations of a collection's first elements, and that of all further elements.
    Return None if the type is not a collection.
    """
    if owner_of(kind) not in COLLECTIONS:
        return None
    first, *others = get_args(kind) or (Any,)
    is_fixed = get_origin(kind) is tuple and others != [Ellipsis]
    return ([first, *others], Any) if is_fixed else ((), first)


def is_enum(kind: object) -> TypeGuard[type[enum.Enum]]:
    return isinstance(kind, enum.EnumType)


def is_choice(kind: object) -> bool:
    """Return whether a type lists its values: an Enum or a Literal."""
    return is_enum(kind) or get_origin(kind) is Literal


def is_of_pydantic(item: object, name: str) -> bool:
    """Return whether ``item`` is the pydantic class called ``name``, or an instance of it."""
    kind = item if isinstance(item, type) else type(item)
    return kind.__name__ == name and kind.__module__.partition(".")[0] == "pydantic"


def takes_json_text(kind: object) -> bool:
    """Return whether a type is pydantic's ``Json``, whose values are parsed from strings."""
    return any(is_of_pydantic(one, "Json") for one in (kind, *metadata_of(kind)))


def type_name(key: object) -> str:
    """Return the name of a type, for use in messages."""
    return getattr(key, "__name__", repr(key)) if get_origin(key) is None else repr(key)
