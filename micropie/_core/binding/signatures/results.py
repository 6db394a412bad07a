"""Read the annotation of a handler's result, and make the filter that sends only the fields that
the annotation declares.
"""

from __future__ import annotations

from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Awaitable,
    Collection,
    Container,
    Coroutine,
    Generator,
    Hashable,
    ItemsView,
    Iterable,
    Iterator,
    Mapping,
    Reversible,
    Sequence,
)
from contextlib import suppress
from functools import lru_cache
from inspect import Parameter
from itertools import chain
from operator import attrgetter
from types import NoneType
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    Literal,
    NewType,
    TypeGuard,
    Union,
    get_args,
    get_origin,
)

from micropie._core.binding.annotations import (
    COLLECTIONS,
    MAPPINGS,
    UNREADABLE,
    Hint,
    bare,
    hints_of,
    is_of_pydantic,
    owner_of,
    type_name,
    united,
    unreadable,
    with_arguments,
    without_aliases,
    without_none,
)
from micropie._core.binding.fields import (
    collection_of,
    has_fields,
    hints_of_class,
    holds_structures,
    is_pydantic,
    is_structure,
    is_typed_dict,
    kinds_in,
    members_of,
    refuse_extras,
    structure_name,
    structures_of,
    written_kinds,
)
from micropie._core.binding.values.converters import NO_OWN_TYPES, OwnTypes
from micropie._core.errors import ResponseError, SetupError, annotations_of
from micropie._core.execution.placement import AnyFunction, innermost
from micropie._core.http import sent_as
from micropie._core.http.json import Dumps, Encoders, isolated, msgspec

if TYPE_CHECKING:
    from micropie._core.binding.structures.writers import Writer


def answers_of(function: AnyFunction, stated: object = None) -> tuple[object, ...]:
    """Return the types that a handler may return, from ``stated`` or, if that is None, from the
    handler's annotation.

    Raises ``SetupError`` for an annotation that can't be evaluated, for example because a name in
    it is imported for type checkers only. Ignoring the annotation would be unsafe, because then all
    fields of a result would be sent.
    """
    inner = innermost(function)
    annotation = annotations_of(inner).get("return", Parameter.empty) if stated is None else stated
    return _split_union(hints_of({"return": annotation}, inner)["return"])


def _split_union(annotation: Hint) -> tuple[Hint, ...]:
    """Return the members of a union. A ``Literal`` that contains both text (str or bytes) and other
    values is split in two, because text is sent differently.

    Of a union in ``Annotated``, the structures stay together, because the metadata may contain
    their discriminator.
    """
    members: list[Hint] = []
    for one in united(annotation):
        kind, *metadata = get_args(one) if get_origin(one) is Annotated else (one,)
        structures = tuple(filter(is_structure, united(kind)))
        others = [part for part in united(kind) if part not in structures]
        if metadata and others not in ([], [kind]):
            parts = [Union[structures], *others] if structures else others  # noqa: UP007 - a tuple
            kept = [item for item in metadata if isinstance(item, Hashable)]  # as a union needs
            for part in parts:
                is_plain = part is NoneType or not kept
                members += _split_union(part if is_plain else Annotated[(part, *kept)])
            continue
        values = get_args(kind) if get_origin(kind) is Literal else ()
        texts = tuple(value for value in values if isinstance(value, str | bytes))
        rest = tuple(value for value in values if value not in texts)
        members += [Literal[texts], Literal[rest]] if texts and rest else [one]
    return tuple(members)


def answer_parts(answer: Hint) -> tuple[tuple[int, ...] | None, tuple[Hint, ...]]:
    """Return the statuses and the types of bodies in ``answer``, a type that a handler returns. For
    ``tuple[Literal[201], X | None]``, these are ``(201,)`` and ``(X, None)``.

    The statuses are () if the annotation declares none, and None if it allows any status, as in
    ``tuple[int, X]``.
    """
    kind, _ = bare(answer)
    parts = get_args(kind) or (Any, ...)
    if owner_of(kind) is not tuple:
        return (), (answer,)
    atoms = [_atoms(part) for part in parts if part is not ...]
    statuses = [*filter(_may_be_status, atoms[0])]
    for one in atoms[0]:
        if isinstance(one, str) and one.isdecimal():
            raise SetupError(f"{answer}: {one!r} is a str, not a status: write Literal[{one}]")
    # A result such as (201, 2) is sent as a JSON array. It isn't a status and a body, because a
    # number can't be a body.
    numbers = chain.from_iterable((*atoms[:2], atoms[-1]))
    if len(parts) not in (2, 3) or not statuses or all(map(_is_int, numbers)):
        return (), (answer,)
    if len(atoms) == 1 or statuses != atoms[0] or not all(map(_is_int, statuses)):
        return None, (answer,)
    stated = tuple(int(one) for one in statuses if isinstance(one, int))
    return stated if len(stated) == len(statuses) else None, _split_union(parts[1])


def _atoms(hint: Hint) -> list[object]:
    """Return the members of a union, with each ``Literal`` replaced by its values."""
    return [
        one
        for kind in united(bare(hint)[0])
        for one in (get_args(kind) if get_origin(kind) is Literal else (kind,))
    ]


def _is_int(atom: object) -> bool:
    return issubclass(atom, int) if isinstance(atom, type) else isinstance(atom, int)


def _may_be_status(atom: object) -> bool:
    if isinstance(atom, int):
        return 100 <= atom <= 999
    return atom in (Any, object) or (_is_int(atom) and atom is not bool)


def result_filter(
    function: AnyFunction,
    answers: Sequence[object],
    stated: object = None,
    own: OwnTypes = NO_OWN_TYPES,
) -> ResultFilter | None:
    """Return the filter that keeps only those fields of a handler's result that its annotation
    declares. Return None if the annotation contains no structure, not even in a collection or a
    dict.

    - ``answers``: the types returned by ``answers_of``.
    - ``stated``: the type given as ``response_model``.
    - ``own``: the application's encoders and decoders.

    Raises ``SetupError`` for a ``stated`` type without a structure, and for a structure whose
    annotations can't be evaluated.
    """
    kinds = [_declared(body, own) for one in answers for body in answer_parts(one)[1]]
    others = [
        one
        for one in kinds
        if not (one is NoneType or structures_of(one, holds_structures) or _is_nest(one))
    ]
    filtered = [one for one in kinds if one not in others]
    # a union of a single type isn't made, because the metadata in it may not be hashable
    hint: Hint = NoneType
    if filtered:
        hint = filtered[0] if len(filtered) == 1 else Union[tuple(filtered)]  # noqa: UP007
    members = structures_of(hint, holds_structures)
    if members and not any(one in _ANYTHING for one in others):
        name = getattr(function, "__qualname__", "a handler")
        _check_readable(members, name)
        return ResultFilter(name, hint, members, others)
    if stated is not None:
        raise SetupError(
            f"response_model={stated!r} has no fields: use a dataclass, TypedDict, Struct or "
            "pydantic model, or a list or dict of such a class"
        )
    return None


def _declared(body: Hint, own: OwnTypes) -> Hint:
    """Return the type of a body with what each ``NewType`` and ``Awaitable`` stands for, and with
    list or dict in place of all other classes that are sent as an array or an object.
    """
    while isinstance(body, NewType) or get_origin(body) in (Awaitable, Coroutine):
        body = without_aliases(getattr(body, "__supertype__", None) or get_args(body)[-1])
    owner: Any = owner_of(body)
    is_replaced = _is_collection(owner) and owner not in _KEPT and own.encoder_of(owner) is None
    if is_replaced:
        body = collection_of(body)
    arguments = tuple(_declared(one, own) for one in get_args(body))
    if not (is_replaced and arguments):
        return with_arguments(body, arguments)
    owner = get_origin(body)
    if issubclass(owner, ItemsView):
        return list[tuple[arguments]]  # type: ignore[valid-type]
    if issubclass(owner, Mapping):
        return dict[(*arguments, Any)[:2]]  # type: ignore[misc]  # a Counter has only keys
    return list[arguments[0]]  # type: ignore[valid-type]


_KEPT = (list, tuple, set, frozenset, Sequence, dict, Mapping)


def _is_collection(kind: object) -> TypeGuard[type]:
    """Return whether a class is that of an array or an object in JSON, but no structure."""
    if not isinstance(kind, type) or has_fields(kind) or sent_as(kind) not in ("json", ""):
        return False
    return issubclass(kind, Collection) or kind in (Iterable, Container, Reversible)


def items_of(answers: Iterable[object], is_generator: bool) -> tuple[object, ...]:
    """Return the types of the items that a handler streams as JSON Lines, or () if it doesn't
    stream JSON Lines. A stream of str, bytes or ``Any`` isn't JSON Lines, because its items are
    sent unchanged, as chunks of a body.

    ``is_generator``: whether the handler is a generator function. If so, ``Iterable`` in its
    annotation also means a stream.
    """
    found: list[Hint] = []
    for body in chain.from_iterable(answer_parts(one)[1] for one in answers):
        kind, _ = bare(body)
        origin, (item, *_) = get_origin(kind), get_args(kind) or (None,)
        is_stream = origin in _STREAMS or (is_generator and origin in (Iterable, AsyncIterable))
        items = united(without_none(item)[0])
        if is_stream and Any not in items and object not in items and all(map(_is_json, items)):
            found += united(item)
    return tuple(found)


_STREAMS = (Iterator, Generator, AsyncIterator, AsyncGenerator)


def sends_null(answers: Sequence[object]) -> bool:
    """Return whether a handler's None is sent as JSON's null instead of an empty body. This is so
    if the handler may return, with the same status, another type that is sent as JSON.
    """
    by_statuses: dict[object, list[Hint]] = {}
    for statuses, bodies in map(answer_parts, answers):
        by_statuses.setdefault(statuses, []).extend(bodies)
    return any(NoneType in one and any(map(_is_json, one)) for one in by_statuses.values())


def _is_nest(answer: object) -> bool:
    kind, _ = bare(answer)
    return owner_of(kind) in (*COLLECTIONS, *MAPPINGS)


def _is_json(answer: object) -> bool:
    kind, _ = bare(answer)
    if len(united(kind)) > 1:
        return all(map(_is_json, united(kind)))
    arguments, kind = get_args(kind), owner_of(kind)
    if kind is Literal:
        return not any(isinstance(one, str) for one in arguments)
    if _is_nest(kind):
        return True
    return isinstance(kind, type) and kind is not NoneType and sent_as(kind) == "json"


# A handler whose annotation contains one of these may return anything, so all fields are sent.
_ANYTHING = (Any, object, Parameter.empty)


def _classes_of(annotation: Hint) -> Iterator[type]:
    """Yield the classes of an annotation's values. The annotation must not contain structures."""
    kind, _ = bare(annotation)
    if get_origin(kind) is Literal:
        yield from map(type, get_args(kind))
    elif isinstance(kind := owner_of(kind), type):
        yield from (float, int) if kind is float else (kind,)


class ResultFilter:
    """Keeps only those fields of a handler's result that the annotation declares.

    - ``name``: the name of the handler.
    - ``maker``: reduces a result to the declared fields.
    - ``classes``: the declared structures. The set is empty if they are declared only inside nested
      lists or dicts.
    - ``exact``: classes from ``classes`` whose objects need no filter, so they are sent unchanged.
      This doesn't apply to objects of subclasses.
    - ``outer``: list or dict if the annotation declares a list of structures, or a dict of them
      with str keys; otherwise None.
    - ``others``: the declared types that are not structures. Their values are sent unchanged.
    """

    def __init__(
        self, name: str, hint: Hint, members: Sequence[type], others: Sequence[Hint]
    ) -> None:
        # imported only by applications with structures
        from micropie._core.binding.structures.makers import library_for
        from micropie._core.binding.values.shapes import Shape

        try:
            self.name, self.maker = name, library_for(hint)(hint)
        except RuntimeError as error:  # raised by pydantic
            sentence = str(error).partition("\n")[0]
            raise SetupError(f"{name} can't return a {type_name(hint)}: {sentence}") from None
        self.shape = Shape(hint, not self.maker.is_pydantic)
        self.writer: Writer | None = None
        if not self.maker.is_pydantic:
            with suppress(TypeError):  # msgspec can't read a type that such a filter can write
                refuse_extras(kinds_in(hint), f"{name} can't return a {type_name(hint)}")
            _check_convertible(structures_of(hint, _is_dict), name)
        body, _ = without_none(hint)
        classes = {owner_of(one): one for one in members}
        *keys, inner = get_args(body) or (None,)
        owner: Any = get_origin(body)
        names = {list: [], Sequence: [], dict: [str], Mapping: [str]}.get(owner)
        is_flat = names == keys and members_of(inner)
        self.outer = (dict if keys else list) if is_flat else None
        is_nest = not (self.outer or members_of(body))
        self.classes = set() if is_nest else {*classes}
        self.exact = {
            one for one, alias in classes.items() if not (is_nest or _hints_inside(alias))
        }
        self.others = tuple(chain.from_iterable(map(_classes_of, others)))

    def bodies(self, dumps: Dumps, own: Encoders) -> dict[type, Dumps]:
        """Return the function that encodes the results of each class whose objects are always sent
        as JSON. Classes whose objects may be HTML, streams or awaitables are left out.
        """
        from micropie._core.binding.structures.writers import Writer

        kinds = (one for one in self.classes if sent_as(one) == "json")
        is_nest = not (self.classes or self.maker.is_pydantic)
        nests = (list, dict) if is_nest else (self.outer,) if self.outer else ()
        kept = [*(one for one in kinds if not issubclass(one, tuple)), *nests]
        self.writer = Writer(self.maker, self.shape, dumps, own)
        return {**dict.fromkeys(kept, self.writer), EncodedResult: attrgetter("body")}

    def has_only(self, classes: set[type], result: object) -> bool:
        """Return whether a result is an object of exactly one of ``classes`` or, with ``outer``, a
        list or a dict of such objects. Instances of subclasses don't count.
        """
        if isinstance(result, list):
            return self.outer is list and classes.issuperset(map(type, result))
        if self.outer is None:
            return type(result) in classes
        if self.outer is list or type(result) is not dict:
            return False
        are_names = {str}.issuperset(map(type, result))
        return are_names and classes.issuperset(map(type, result.values()))

    def item_writer(self, dumps: Dumps, own: Encoders) -> Dumps:
        """Return the function that encodes an item of a stream, or a message of a WebSocket, with
        only the fields that the annotation declares. ``dumps``, ``own``: as for ``bodies``.
        """
        encoders = self.bodies(dumps, own)

        def write(item: object) -> bytes:
            is_exact = self.has_only(self.exact, item) or isinstance(item, self.others)
            made = item if is_exact else self.make(item, is_sent=True)
            return encoders.get(type(made), dumps)(made)

        return write

    def make(self, result: object, is_sent: bool = False) -> object:
        """Return a result with only the fields that the annotation declares. If it ``is_sent``
        before any other code can change it, encode it as well, because a check of all values inside
        it precedes both.

        Raises ``ResponseError`` if the result doesn't match the annotation. The error's message
        contains the path to the invalid value.
        """
        is_of_msgspec = not self.maker.is_pydantic
        try:
            # If a result has only objects of ``classes``, msgspec would return it unchanged. So
            # don't call msgspec.
            is_made = is_of_msgspec and self.has_only(self.classes, result)
            made = result if is_made else self.maker.dump(result)
            is_plain = is_of_msgspec and self.shape.is_plain(made)
        except (ValueError, TypeError, ImportError, RecursionError) as error:
            from micropie._core.binding.structures.invalid import described

            raise ResponseError(
                f"{self.name} returned {type(result).__name__}, which does not match the "
                f"annotation {type_name(self.maker.hint)}: {described(error)}"
            ) from None
        if is_sent and is_made and is_plain and self.writer is not None:
            return EncodedResult(self.writer(made, is_checked=True))
        return made


class EncodedResult:
    """A result that its filter has encoded as JSON."""

    def __init__(self, body: bytes) -> None:
        self.body = body


def _check_readable(structures: Iterable[type], name: str) -> None:
    """Raise ``SetupError`` if the annotations of a structure, or of a structure inside it, can't be
    evaluated. The annotations are needed to filter the fields. ``name``: the name of the handler.
    """
    waiting = [*structures]
    for structure in waiting:
        if is_of_pydantic(structure, "BaseModel"):
            raise SetupError(
                f"{name} returns pydantic's BaseModel, which has no fields: annotate it with the "
                "class of your model, or with Any to send all fields of any model"
            )
        try:
            if is_pydantic(structure) and hasattr(structure, "model_rebuild"):
                isolated(structure.model_rebuild)  # its error contains the undefined name
            hints = _hints_inside(structure).values()
        except UNREADABLE as error:
            raise unreadable(structure, error) from None
        inside = chain.from_iterable(map(written_kinds, hints))
        waiting += [kind for kind in inside if has_fields(kind) and kind not in waiting]


def _is_dict(kind: object) -> TypeGuard[type]:
    """Return whether a type is a TypedDict, or a union of several."""
    members = united(kind)
    return sum(is_typed_dict(owner_of(one)) for one in members) > (len(members) > 1)


def _check_convertible(typed_dicts: Iterable[type], name: str) -> None:
    """Raise ``SetupError`` for a TypedDict, or a union of several, to which msgspec can't convert a
    dict. The objects of other classes can be sent if they need no conversion. ``name``: the name of
    the handler.
    """
    for one in typed_dicts:
        try:
            msgspec().json.Decoder(one)
        except ImportError:  # reported at a request
            return
        except TypeError as error:
            raise SetupError(
                f"{name} can't return a dict as {structure_name(one)}: {error}; change this type, "
                f"or make {structure_name(one)} a dataclass"
            ) from None


@lru_cache(maxsize=256)
def _hints_inside(structure: type) -> Mapping[str, Hint]:
    """Return the annotations of those attributes of a structure that contain other structures, as a
    dict by name. Return {} for a pydantic model.
    """
    if is_pydantic(structure):  # pydantic itself filters by the annotations
        return {}
    return {
        name: hint
        for name, hint in hints_of_class(structure).items()
        for kinds in [map(collection_of, written_kinds(hint))]
        if any(has_fields(one) for kind in kinds for one in written_kinds(kind))
    }
