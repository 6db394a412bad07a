"""Find the errors in a document or a form that could not be converted to a structure: every invalid
value, with a message for the visitor.

This module is used only after msgspec or pydantic has rejected a document. pydantic reports all
errors, but msgspec stops at the first error. So for msgspec, this module goes through the type and
the document in parallel, and converts each value again on its own. The messages are the same as for
a parameter of the value's type.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import replace
from functools import lru_cache, reduce
from itertools import chain, islice
from typing import (
    TYPE_CHECKING,
    Any,
    Literal,
    NamedTuple,
    Never,
    TypeAlias,
    Union,
    get_args,
    get_origin,
)

from micropie._core.binding.annotations import MAPPINGS, Hint, bare, is_choice, owner_of, united
from micropie._core.binding.fields import (
    Field,
    chosen,
    elements_in,
    elements_of,
    field_of,
    fields_of,
    is_structure,
    kinds_in,
    rooted,
    tag_of,
)
from micropie._core.binding.structures.forms import FormError, described_as, steps_of
from micropie._core.binding.values.adapters import errors_of, refusal, without_markup, words_of
from micropie._core.binding.values.constraints import (
    INVALID,
    LONGEST_KEY,
    LONGEST_TEXT,
    MOST_ERRORS,
    REQUIRED_FIELD,
    TOO_MANY,
    UNWANTED,
    BrokenConstraint,
    broken,
)
from micropie._core.binding.values.converters import (
    ANYTHING,
    NO_OWN_TYPES,
    OwnTypes,
    converter_for,
)
from micropie._core.binding.values.limits import SizeError, has_chosen_hashes
from micropie._core.http import ParameterError
from micropie._core.http.json import count_values
from micropie._core.on_demand import pattern

if TYPE_CHECKING:
    from micropie._core.binding.structures.makers import Maker

Path: TypeAlias = tuple[str | int, ...]

MOST_TEXT = 200_000  # The length of all messages for one body. Further errors are not reported.
# The search may convert at most ``MOST_VALUES`` values again, so that it takes a few milliseconds
# at most for one body. Each conversion counts as ``CALL`` plus the number of values inside the
# converted value. If the search then converts these inner values one by one, they count again.
MOST_VALUES = 12_000
CALL = 10
DEEPEST = 10  # how many levels of nested values are searched
RUN = 25  # how many elements of an array are converted together, because most are valid


def problems_of(
    error: ValueError, maker: Maker, document: object, is_json: bool
) -> Sequence[ParameterError]:
    """Return the errors in a document for which ``maker.make`` raised ``error``.

    The caller adds the parameter's name and the source to each error.
    """
    field, own = maker.field, maker.own
    if isinstance(error, FormError):
        return [_problem(own, None, error.path, None, "", written=str(error))]
    if hasattr(error, "error_count"):  # pydantic's exception, which contains all errors
        found = _of_pydantic(error, document, field, own)
    elif maker.is_pydantic or isinstance(error, SizeError):  # raised by a check in ``limits.py``
        found = iter([_beyond_limit(error, field, document, own)])
    else:
        found = _Search(maker, is_json).errors_in(_reason(error), field, document)
    problems: list[ParameterError] = []
    length = 0
    for one in islice(found, MOST_ERRORS):
        problems.append(one)
        length += len(one.field + one.sentence + one.expected + one.words)
        if length > MOST_TEXT:
            return problems
    return problems


def problems_in_json(
    reason: ValueError, hint: Hint, value: object, key: str
) -> Iterator[ParameterError]:
    """Yield the errors inside the JSON text of the field ``key``, for which pydantic raised
    ``reason``.

    The caller adds the parameter's name and the source to each error.
    """
    for one in _of_pydantic(reason, value, field_of(hint)):
        yield replace(one, field=f"{key}{steps_of(one.path)}")


def _beyond_limit(
    error: ValueError, structure: Field, document: object, own: OwnTypes
) -> ParameterError:
    """Return the error for a number, an array, an object or a document beyond our limits."""
    steps: Path = getattr(error, "path", ())
    field, _ = _located(structure, document, steps, is_missing=False)
    hint, unknown = None if field is None else field.hint, INVALID
    if isinstance(error, SizeError):
        kind, _ = bare(hint)
        unknown = TOO_MANY
        # A list's message would describe the elements, and a decoder would convert all of them.
        is_decoded = isinstance(kind, type) and kind in own.decoders
        if is_decoded or not has_chosen_hashes(kind):
            hint = None
    value, path = reduce(_part, steps, document), tuple(map(_shortened, steps))
    return _problem(own, hint, path, value, _at(str(error), path), unknown=unknown)


def _shortened(step: str | int) -> str | int:
    """Return a step of a path, which is cut if it is a very long key."""
    return step if len(str(step)) <= LONGEST_KEY else f"{str(step)[:LONGEST_KEY]}..."


def _worded(path: Path, words: str) -> str:
    return ": ".join(filter(None, [".".join(map(str, path)), words]))


def _problem(
    own: OwnTypes,
    hint: Hint,
    path: Path,
    value: object,
    text: str,
    written: str = "",
    unknown: str = INVALID,
    fault: str = "invalid",
) -> ParameterError:
    """Return the error for one value. ``value``: the value, or None if it is missing.

    The visitor sees the first of these messages that exists: the application's ``Message``;
    ``written``, which a validator of the application has raised; the message for a parameter of the
    same type. If parameters can't have the type, or accept the value, it is the text ``unknown``,
    or the application's for ``fault``.
    """
    converter = described_as(hint, own)
    is_known = converter.expected != ANYTHING.expected
    try:
        if isinstance(value, str) and converter.many is None:  # a form has lists for collections
            converter.from_text(value)
        else:
            converter.from_json(value)
        is_empty = value is None or value == ""
        refused = None if is_empty else BrokenConstraint(fault, unknown)
        words, is_custom = converter.error_message(value, refused)
    except ValueError as error:
        words, is_custom = converter.error_message(value, error)
    if not is_custom and (written or not is_known):
        words = written or unknown
    if is_custom or written:
        text = without_markup(_worded(path, words.removesuffix(".")))
    field = steps_of(path).removeprefix(".")  # "lines[0].price"
    return ParameterError(
        "", "", value, converter.expected if is_known else text, path, text, field, words
    )


# -- msgspec ---------------------------------------------------------------------------------------

_STEP = pattern(r"\.([^.\[]+)|\[(\d+|\.\.\.)\]")

# what msgspec says of an array or object with too few or too many values
_LENGTH = pattern(
    "Expected `(?:array|object)` of (?:at (?:most|least) )?length "
    r"(>= |<= |)(\d+)(?: to (\d+))?(?:, got (\d+))?"
)

_WORDLESS = "Invalid value"  # used if a validator raises ``ValueError()`` without a message


class _Reason(NamedTuple):
    """Why a value was refused.

    - ``text``: msgspec's message, without the path to what is invalid.
    - ``path``: this path, from the document. It is that of the value or goes on inside it.
    - ``cause``: the exception that the application raised, for example in ``__post_init__``.
    """

    text: str
    path: Path
    cause: BaseException | None


def _reason(error: ValueError, path: Path = ()) -> _Reason:
    """Return why the value at ``path`` is refused."""
    before, dash, after = str(error).rpartition(" - at `")
    text, place = (before, after.removesuffix("`")) if dash else (after, "")
    inner = (
        name or (int(index) if index.isdigit() else index) for name, index in _STEP.findall(place)
    )
    return _Reason(text, (*path, *inner), error.__cause__)


def _part_for(field: Field, value: dict[str, Any] | list[Any]) -> Field:
    """Return the field for the types of a union to which ``value`` can be converted, such as
    ``list[Pie]`` of ``Pie | list[Pie]``. Without one, return ``field``. The hint stays the same,
    because it may have a ``Message``.
    """
    if field.members or field.elements or len(united(field.kind)) == 1:
        return field
    kinds = [
        one
        for one in united(field.kind)
        if (
            is_structure(one) or get_origin(one) in MAPPINGS
            if isinstance(value, dict)
            else elements_in(one)
        )
    ]
    return field_of(Union[tuple(kinds)])._replace(hint=field.hint) if kinds else field  # noqa: UP007


@lru_cache(maxsize=256)
def _has_clear_names(structure: type) -> bool:
    """Return whether each field's name is one step of a path. A name with a dot looks like two."""
    return all(_STEP.fullmatch(f".{field.name}") for field in fields_of(structure))


@lru_cache(maxsize=256)
def _fields_in_objects(structure: type) -> tuple[Sequence[Field], Set[str] | None]:
    """Return the fields that JSON objects have for a structure and, if it forbids unknown names,
    all names that are known. An array-like Struct has no such fields.
    """
    fields = fields_of(structure) if elements_in(structure) is None else ()
    config = getattr(owner_of(structure), "__struct_config__", None)
    is_closed = fields and config is not None and config.forbid_unknown_fields
    return fields, {*tag_of(structure), *(one.name for one in fields)} if is_closed else None


# The annotation and the name or index of a value inside another, and a text if it is missing or
# forbidden.
_Part: TypeAlias = tuple[Field, str | int, str]
_NO_FIELD = field_of(Never)  # for a name that a structure forbids


def _members_in(field: Field, value: dict[str, Any]) -> Iterator[_Part]:
    """Yield what is directly inside an object."""
    members = field.members
    member = members[0] if len(members) == 1 else chosen(members, value)[0]
    fields, known = ((), None) if member is None else _fields_in_objects(member)
    for inner in fields:
        if inner.name in value:
            yield inner, inner.name, ""
        elif inner.required:
            yield inner, inner.name, f"Object missing required field `{inner.name}`"
    if known is not None:
        for name in value:
            if name not in known:
                yield _NO_FIELD, name, f"Object contains unknown field `{_shortened(name)}`"
    if not members and field.values is not None:
        yield from ((field.values, key, "") for key in value if len(key) <= LONGEST_KEY)


class _Search:
    """Finds the errors in a document that msgspec has rejected. Converts at most ``MOST_VALUES``
    values.
    """

    def __init__(self, maker: Maker, is_json: bool) -> None:
        self._maker = maker
        self._is_json = is_json
        self._left = MOST_VALUES

    def errors_in(
        self, reason: _Reason, field: Field, value: Any, path: Path = ()
    ) -> Iterator[ParameterError]:
        """Yield an error for each invalid value inside ``value``. If no inner value is invalid,
        yield one error for ``value`` itself.

        - ``reason``: why msgspec has refused ``value``.
        - ``field``: the annotation of ``value``.
        """
        own = self._maker.own
        level = len(path)
        # The name or index inside ``value`` that msgspec's message contains. This part isn't
        # converted again. An application's message may contain anything.
        named = None
        if reason.cause is None and all(map(_has_clear_names, field.members)):
            # msgspec writes "..." for each key of a dict, which may also be the name of one
            named = next((step for step in reason.path[level : level + 1] if step != "..."), None)
        is_found = False
        for inner, step, fault in self._parts(field, value, named) if level < DEEPEST else ():
            if fault:
                is_found = True
                given = value[step] if inner is _NO_FIELD else None
                at = (*path, _shortened(step))
                text = _at(fault, path)
                yield _problem(own, inner.hint, at, given, text, unknown=REQUIRED_FIELD)
            elif self._affords(part := value[step]):
                refused = reason if step == named else self._refusal(part, inner.hint, path, step)
                if refused is not None:
                    is_found = True
                    yield from self.errors_in(refused, inner, part, (*path, step))
        if is_found:
            return
        if value.__class__ in (dict, list) and (part := _part_for(field, value)) is not field:
            yield from self.errors_in(reason, part, value, path)
        else:
            yield _described(reason, field, value, path, own)

    def _parts(self, field: Field, value: object, named: str | int | None) -> Iterable[_Part]:
        """Return what is directly inside ``value``. Leave out those runs of a list's elements that
        are valid.
        """
        if isinstance(value, dict):
            return _members_in(field, value)
        return self._elements_in(field, value, named) if isinstance(value, list) else ()

    def _elements_in(
        self, field: Field, value: list[object], named: str | int | None
    ) -> Iterator[_Part]:
        elements = elements_of(field)
        if elements is None:
            return
        first, rest = elements
        for index, inner in enumerate(first):
            if index < len(value):
                yield inner, index, ""
            elif inner.required:
                yield inner, index, "Array is too short"
        # the annotation itself if possible, because a reader is compiled for each new one
        hint: Any = list[Any] if first else field.kind
        for start in range(len(first), len(value), RUN):
            run = range(start, min(start + RUN, len(value)))
            others = [value[index] for index in run if index != named]
            is_refused = self._affords(others) and self._refusal(others, hint) is not None
            yield from ((rest, index, "") for index in run if is_refused or index == named)

    def _affords(self, part: object) -> bool:
        """Return whether a part of the document may be converted, and count its values. It may be
        too large for the rest of the limit. Later parts may be smaller.
        """
        if self._left <= CALL:
            return False
        cost = CALL + count_values(part)
        is_affordable = cost <= self._left
        self._left -= cost if is_affordable else CALL
        return is_affordable

    def _refusal(
        self, part: object, hint: Hint, path: Path = (), step: str | int = 0
    ) -> _Reason | None:
        """Return why the part at ``step`` of the value at ``path`` is refused, or None if it is
        valid.
        """
        try:
            self._maker.make(part, self._is_json, hint)
        except ValueError as refused:
            return _reason(refused, (*path, step))
        return None


def _described(
    reason: _Reason, field: Field, value: Any, path: Path, own: OwnTypes
) -> ParameterError:
    """Return the error for one value."""
    hint, fault, unknown = field.hint, "invalid", INVALID
    text = reason.text[:LONGEST_TEXT]  # msgspec quotes a key that is no field
    if reason.cause is not None and is_structure(field.kind):  # raised by ``__post_init__``
        return _problem(own, hint, path, value, _at(_WORDLESS, path), written=text)
    # replace msgspec's message, because it quotes the client's value
    if text.startswith("Invalid enum value"):
        choices = [*filter(is_choice, kinds_in(hint))]
        expected = [converter_for(one, own).expected for one in choices]
        text = f"Expected {expected[0]}" if len(expected) == 1 else "Invalid enum value"
    elif found := _LENGTH.match(text):
        is_short = found[1] == ">= " or int(found[4] or found[2]) < int(found[2])
        name = "min_length" if is_short else "max_length"
        bound = found[2] if is_short else found[3] or found[2]
        fault, unknown = broken(name, int(bound), ()).args
    # msgspec quotes the tag that the client sent to choose a member of a union
    elif text.startswith("Invalid value"):
        text = _WORDLESS
    shown = _at(text, reason.path)
    tags = [tag for one in field.members for tag in tag_of(one).items()]
    name = tags[0][0] if tags else ""
    steps = reason.path[len(path) :]
    if not steps and text == f"Object missing required field `{name}`":
        steps = (name,)
    if steps:
        hint, path = None, (*path, *steps)
    if steps == (name,):  # then the value is an object
        hint, value = Literal[tuple(tag for _, tag in tags)], value.get(name)
    return _problem(own, hint, path, value, shown, unknown=unknown, fault=fault)


def _at(text: str, path: Path) -> str:
    """Return a message with the path to the value, in msgspec's format: "Expected `int` - at
    `$.lines[0]`".
    """
    return without_markup(f"{text} - at `${steps_of(path)}`" if path else text)


# -- pydantic --------------------------------------------------------------------------------------


def _of_pydantic(
    reason: Any,
    document: object = None,
    structure: Field | None = None,
    own: OwnTypes = NO_OWN_TYPES,
) -> Iterator[ParameterError]:
    """Yield the errors that pydantic reports. If describing them would take too long, yield one
    error that contains only their number.
    """
    found = errors_of(reason, document)
    if not found:
        text = f"{reason.error_count()} values are invalid"
        yield ParameterError("", "", None, text, sentence=text, words=INVALID)
    seen = set[tuple[Path, str]]()  # the members of a union may have the same error
    for one in found:
        field, steps = _located(structure, document, one["loc"], one["type"] == "missing")
        describe = _wrong_tag if one["type"] in _TAGS else _of_error
        problem = describe(field, steps, one, own)
        if steps is not one["loc"]:
            if (steps, problem.words) in seen:
                continue
            seen.add((steps, problem.words))
        yield problem


def _of_error(
    field: Field | None, steps: Path, one: Mapping[str, Any], own: OwnTypes
) -> ParameterError:
    """Return the error for one of pydantic's, about the value at ``steps``."""
    is_written, words = words_of(one)
    fault, unknown = refusal(one, words).args
    value = None if unknown is REQUIRED_FIELD else one["input"]
    written = words if is_written else ""
    path = steps if len(str(steps)) <= LONGEST_KEY else tuple(map(_shortened, steps))
    text = without_markup(_worded(path, one["msg"] if words else _WORDLESS))
    hint = Never if unknown is UNWANTED else None if field is None else field.hint
    return _problem(own, hint, path, value, text, written, unknown, fault)


# pydantic's errors about the tag that chooses a member of a union
_TAGS = ("union_tag_not_found", "union_tag_invalid")


def _wrong_tag(
    union: Field | None, steps: Path, one: Mapping[str, Any], own: OwnTypes
) -> ParameterError:
    """Return the error for a missing or wrong tag. Its path is that of the field whose value
    chooses a member, or of the union if no field does.
    """
    text, value, context = one["msg"], one["input"], one["ctx"]
    name = context["discriminator"].strip("'")
    members = () if union is None else union.members
    hints = [field.kind for kind in members for field in fields_of(kind) if field.name == name]
    tags = tuple(chain.from_iterable(map(get_args, hints)))
    if tags:
        steps, value, unknown = (*steps, name), _part(value, name) or None, INVALID
    else:
        if "tag" in context:  # pydantic's message quotes it
            text = (
                f"Input tag found using {context['discriminator']} does not match any of the "
                f"expected tags: {context['expected_tags']}"
            )
        unknown = text
    path = tuple(map(_shortened, steps))
    text = without_markup(_worded(path, text))
    hint = Literal[tags] if tags else None
    return _problem(own, hint, path, value, text, unknown=without_markup(unknown))


def _located(
    structure: Field | None, document: object, steps: Path, is_missing: bool
) -> tuple[Field | None, Path]:
    """Return the annotation of the value about which pydantic reports an error, or None if it can't
    be determined, and the path to the value in the document.

    pydantic's ``steps`` contain one for each member of a union that it has tried, and one for a
    dict's key. The path doesn't. ``is_missing``: whether the document lacks the value.
    """
    if structure is None or len(steps) > 2 * DEEPEST:
        return None, steps
    structure = rooted(structure)
    field: Field | None = structure
    for step in steps:
        field = None if field is None else _inside(field, step)
    # Without a step that is no field or value, all lead to the value.
    if field is None or "[key]" in steps:
        return _sent(structure, document, steps, is_missing)
    return field, steps


def _sent(
    structure: Field, document: object, steps: Path, is_missing: bool
) -> tuple[Field | None, Path]:
    """Return the same as ``_located``, from the steps that are in the document."""
    field: Field | None = structure
    outer: Hint = None
    path: list[str | int] = []
    for number, step in enumerate(steps, 1):
        is_sent = step in document if isinstance(document, dict) else isinstance(step, int)
        if step == "[key]" and not is_sent:
            # a key is invalid, not its value
            is_known = get_origin(outer) in MAPPINGS
            return field_of(get_args(outer)[0]) if is_known else None, tuple(path)
        if not isinstance(document, dict | list):
            break
        inner = None if field is None else _inside(field, step)
        is_last = number == len(steps)
        if field is None or (inner is None and len(united(field.kind)) > 1):
            # The client may also send a field that is named like the tag of a member.
            is_name = is_sent and not (field and field.members)
            if not (is_name or (is_last and (is_sent or is_missing))):
                continue
            if field is not None:
                field = _part_for(field, document)
                inner = _inside(field, step)
        path.append(step)
        outer = None if field is None else field.kind
        field, document = inner, _part(document, step)
    return field, tuple(path)


def _part(document: Any, step: str | int) -> object:
    """Return the value at one step of a path, or {} if the document has none there."""
    try:
        return document[step]
    except (LookupError, TypeError):
        return {}


def _inside(field: Field, step: str | int) -> Field | None:
    """Return the annotation of the value at one step inside of another, or None if it has none."""
    if isinstance(step, int) and (elements := elements_of(field)) is not None:
        first, rest = elements
        return rooted(first[step] if step < len(first) else rest)
    inner = [one for kind in field.members for one in fields_of(kind) if one.name == step]
    if not inner:
        fields = chain.from_iterable(map(fields_of, field.members))
        inner = [one for one in fields if step in one.others]
    found = inner[0] if inner else field.values
    return None if found is None else rooted(found)


def described(error: Exception) -> str:
    """Return the message of an error that msgspec or pydantic raised for a handler's result."""
    return (
        next(_of_pydantic(error)).sentence
        if hasattr(error, "error_count")
        else str(error) or _WORDLESS
    )
