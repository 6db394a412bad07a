"""Find the errors in a document or a form that could not be converted to a structure: every invalid
value, with a message for the visitor.

This module is used only after msgspec or pydantic has rejected a document. pydantic reports all
errors, but msgspec stops at the first error. So for msgspec, this module goes through the type and
the document in parallel, and converts each value again on its own. The messages are the same as for
a parameter of the value's type.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args, get_origin

from micropie._core.binding.annotations import Hint, bare, elements_of, is_enum
from micropie._core.binding.fields import fields_of, is_structure, kinds_in, members_of
from micropie._core.binding.structures.forms import RowError, described_as
from micropie._core.binding.structures.readings import Refused
from micropie._core.binding.values.adapters import errors_of, without_markup, words_of
from micropie._core.binding.values.constraints import (
    INVALID,
    LONGEST_KEY,
    LONGEST_TEXT,
    MOST_ERRORS,
    REQUIRED_FIELD,
    TOO_MANY,
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
    hint, own = maker.hint, maker.own
    if isinstance(error, SizeError):
        return [_too_large(error, hint, own)]
    if isinstance(error, RowError):
        return [_problem(own, None, error.path, None, "", written=str(error))]
    if hasattr(error, "error_count"):  # pydantic's exception, which contains all errors
        found = _of_pydantic(error, document, hint, own)
    elif maker.is_pydantic:  # our ``check_numbers`` has raised ``error``
        found = iter([_described(error, hint, document, (), own)])
    else:
        read = error.read if isinstance(error, Refused) else document
        search = _Search(maker, is_json, isinstance(error, Refused))
        found = search.errors_in(error, hint, document, read)
    problems, length = list[ParameterError](), 0
    for one in islice(found, MOST_ERRORS):
        problems.append(one)
        length += len(one.field) + len(one.sentence) + len(one.expected) + len(one.words)
        if length > MOST_TEXT:
            return problems
    return problems


def _too_large(error: SizeError, structure: Hint, own: OwnTypes) -> ParameterError:
    """Return the error for an array or an object with too many values."""
    hint, path = _hint_at(structure, error.path), tuple(map(_shortened, error.path))
    kind, _ = bare(hint)
    # A list's message would describe the elements, and a decoder would convert all of them.
    is_decoded = isinstance(kind, type) and kind in own.decoders
    if is_decoded or not has_chosen_hashes(kind):
        hint = None
    return _problem(own, hint, path, error.value, _at(str(error), path), unknown=TOO_MANY)


def _shortened(step: str | int) -> str | int:
    """Return a step of a path, which is cut if it is a very long key."""
    return step if len(str(step)) <= LONGEST_KEY else f"{str(step)[:LONGEST_KEY]}..."


def _steps(path: Path) -> str:
    return "".join(
        f"[{step}]" if isinstance(step, int) or step == "..." else f".{step}" for step in path
    )


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
) -> ParameterError:
    """Return the error for one value. ``value``: the value, or None if it is missing.

    The visitor sees the first of these messages that exists: the application's ``Message``;
    ``written``, which a validator of the application has raised; the message for a parameter of the
    same type. For a type that parameters can't have, it is the text ``unknown``.
    """
    converter = described_as(hint, own)
    try:
        converter.from_text(value) if isinstance(value, str) else converter.from_json(value)
        words, is_custom = converter.error_message(value)
    except ValueError as error:
        words, is_custom = converter.error_message(value, error)
    is_known = converter.expected != ANYTHING.expected
    if not is_custom and (written or not is_known):
        words = written or unknown
    if is_custom or written:
        text = without_markup(_worded(path, words.removesuffix(".")))
    field = _steps(path).removeprefix(".")  # "lines[0].price"
    return ParameterError(
        "", "", value, converter.expected if is_known else text, path, text, field, words
    )


# -- msgspec ---------------------------------------------------------------------------------------

_STEP = pattern(r"\.([^.\[]+)|\[(\d+|\.\.\.)\]")

_WORDLESS = "Invalid value"  # used if a validator raises ``ValueError()`` without a message


class _Search:
    """Finds the errors in a document that msgspec has rejected. Converts at most ``MOST_VALUES``
    values.
    """

    def __init__(self, maker: Maker, is_json: bool, is_read: bool) -> None:
        self._maker = maker
        self._is_json = is_json
        self._is_read = is_read
        self._left = MOST_VALUES

    def errors_in(
        self, error: ValueError, hint: Hint, value: object, read: Any, path: Path = ()
    ) -> Iterator[ParameterError]:
        """Yield an error for each invalid value inside ``value``. If no inner value is invalid,
        yield one error for ``value`` itself.

        - ``error``: the exception that msgspec raised for ``value``.
        - ``read``: ``value`` with what is inside it as ``Reading`` has converted it, with
          ``is_read``; otherwise ``value``.
        """
        own = self._maker.own
        is_found = False
        for inner, part, step, is_missing in self._parts(hint, value, read, len(path)):
            at = (*path, step)
            if is_missing:
                is_found = True
                text = _at(f"Object missing required field `{step}`", path)
                yield _problem(own, inner, at, None, text, unknown=REQUIRED_FIELD)
            elif (refused := self._refusal(part, read[step], inner)) is not None:
                is_found = True
                yield from self.errors_in(refused, inner, part, read[step], at)
        if not is_found:
            yield _described(error, hint, value, path, own)

    def _parts(
        self, hint: Hint, value: object, read: Any, level: int
    ) -> Iterator[tuple[Hint, object, str | int, bool]]:
        """Yield what ``_inside`` yields, without those runs of a list's elements that are valid."""
        parts = _inside(hint, value) if level < DEEPEST else iter(())
        if not isinstance(value, list) or len(value) <= RUN:
            yield from parts
            return
        for first in range(0, len(value), RUN):
            run, part = [*islice(parts, RUN)], slice(first, first + RUN)
            kind: Any = run[0][0] if run else None
            is_alike = bool(run) and all(inner is kind for inner, *_ in run)
            if not is_alike or self._refusal(value[part], read[part], list[kind]) is not None:
                yield from run

    def _refusal(self, part: object, read: object, hint: Hint) -> ValueError | None:
        """Return the exception for a part of the document, or None if it is valid, or too large for
        the rest of the limit: later parts may be smaller.
        """
        if self._left <= CALL:
            return None
        cost = CALL + count_values(part)
        if cost > self._left:
            self._left -= CALL
            return None
        self._left -= cost
        try:
            self._maker.make(read, self._is_json, hint, is_read=self._is_read)
        except ValueError as refused:
            return refused
        return None


def _described(
    error: Exception, hint: Hint, value: object, path: Path, own: OwnTypes
) -> ParameterError:
    """Return the error for one value from msgspec's exception ``error``. If only a part of the
    value is invalid, the exception's message ends with the path to that part.
    """
    before, dash, after = str(error).rpartition(" - at `")
    text, place = (before, after.removesuffix("`")) if dash else (after, "")
    text = text[:LONGEST_TEXT]  # msgspec quotes a key that is no field
    if error.__cause__ is not None and is_structure(bare(hint)[0]):  # raised by ``__post_init__``
        return _problem(own, hint, path, value, _at(_WORDLESS, path), written=text)
    # replace msgspec's message, because it quotes the client's value
    if text.startswith("Invalid enum value"):
        choices = [one for one in kinds_in(hint) if get_origin(one) is Literal or is_enum(one)]
        expected = [converter_for(one, own).expected for one in choices]
        text = f"Expected {expected[0]}" if len(expected) == 1 else "Invalid enum value"
    # msgspec quotes the tag that the client sent to choose a member of a union
    elif text.startswith("Invalid value"):
        text = _WORDLESS
    inner = tuple(
        name or (int(index) if index.isdigit() else index) for name, index in _STEP.findall(place)
    )
    path = (*path, *inner)
    return _problem(own, None if inner else hint, path, value, _at(without_markup(text), path))


def _inside(hint: Hint, value: object) -> Iterator[tuple[Hint, object, str | int, bool]]:
    """Yield a tuple for each value directly inside ``value``: its annotation, the value, its name
    or index, and whether it is missing.
    """
    kind, _ = bare(hint)
    members = members_of(kind)
    if len(members) == 1 and isinstance(value, dict):
        for field in fields_of(members[0]):
            if field.required or field.name in value:
                yield field.hint, value.get(field.name), field.name, field.name not in value
    elif isinstance(value, list):
        for index, (inner, part) in enumerate(zip(elements_of(kind) or (), value, strict=False)):
            yield inner, part, index, False


def _at(text: str, path: Path) -> str:
    """Return a message with the path to the value, in msgspec's format: "Expected `int` - at
    `$.lines[0]`".
    """
    return f"{text} - at `${_steps(path)}`" if path else text


# -- pydantic --------------------------------------------------------------------------------------


def _of_pydantic(
    reason: Any, document: object = None, structure: Hint = None, own: OwnTypes = NO_OWN_TYPES
) -> Iterator[ParameterError]:
    """Yield the errors that pydantic reports. If describing them would take too long, yield one
    error that contains only their number.
    """
    found = errors_of(reason, document)
    if not found:
        text = f"{reason.error_count()} values are invalid"
        yield ParameterError("", "", None, text, sentence=text, words=INVALID)
    for one in found:
        path, text, value = one["loc"], one["msg"], one["input"]
        is_written, unknown = words_of(one)
        if one["type"] == "missing":
            value, unknown = None, REQUIRED_FIELD
        written = unknown if is_written else ""
        if not unknown:
            text, unknown = _WORDLESS, INVALID
        unknown = without_markup(unknown)
        hint, path = _hint_at(structure, path), tuple(map(_shortened, path))
        text = without_markup(_worded(path, text))
        yield _problem(own, hint, path, value, text, written, unknown)


def _hint_at(structure: Hint, path: Path) -> Hint:
    """Return the annotation of the value at ``path`` in a structure, or None if it can't be
    determined, or if the value is too deep inside.
    """
    if len(path) > 2 * DEEPEST:
        return None
    hint = structure
    for step in path:
        kind, _ = bare(hint)
        hints = [
            field.hint for one in members_of(kind) for field in fields_of(one) if field.name == step
        ]
        if isinstance(step, int):
            at = min(step, len(get_args(kind)))  # all elements after these have one type
            hints += islice(elements_of(kind) or (), at, at + 1)
        if not hints:
            return None
        hint = hints[0]
    return hint


def described(error: Exception) -> str:
    """Return the message of an error that msgspec or pydantic raised for a handler's result."""
    return (
        next(_of_pydantic(error)).sentence
        if hasattr(error, "error_count")
        else str(error) or _WORDLESS
    )
