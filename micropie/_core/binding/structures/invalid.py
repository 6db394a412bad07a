"""What is wrong in a document or a form of which no structure was made: each value, with words for
a visitor.

The library has refused the whole. Only then type and document are gone through side by side.
msgspec stops at the first mistake, so it is asked again for each value; pydantic has told all. The
words are those of a parameter of that type.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_origin

from micropie._core.binding.annotations import Hint, bare, elements_of, is_enum
from micropie._core.binding.fields import fields_of, is_structure, kinds_in, members_of
from micropie._core.binding.structures.forms import described_as
from micropie._core.binding.values.adapters import without_markup, words_of
from micropie._core.binding.values.constraints import INVALID, REQUIRED_FIELD
from micropie._core.binding.values.converters import (
    ANYTHING,
    NO_OWN_TYPES,
    OwnTypes,
    converter_for,
)
from micropie._core.binding.values.limits import count_values
from micropie._core.http import ParameterError
from micropie._core.on_demand import pattern

if TYPE_CHECKING:
    from micropie._core.binding.structures.makers import Maker

Path: TypeAlias = tuple[str | int, ...]

MOST_ERRORS = 100  # in one body, to be described
# Values of one body that are converted again, each as often as it is inside a value that is: so a
# refusal costs at most a few milliseconds more than the request. A call counts as ten values.
MOST_VALUES = 12_000
CALL = 10
DEEPEST = 10  # steps of a path


def problems_of(
    error: ValueError, maker: Maker, document: object, is_json: bool
) -> Sequence[ParameterError]:
    """Return what is wrong in a document that ``maker.make`` has refused by ``error``.

    The errors name no parameter and no source.
    """
    hint, own = maker.hint, maker.own
    if hasattr(error, "error_count"):  # pydantic has told all
        return [*_of_pydantic(error, hint, own)]
    if maker.is_pydantic:  # a check of what pydantic has made
        return [_described(error, hint, document, (), own)]
    found = _Search(maker, is_json).mistakes(error, hint, document)
    return [*islice(found, MOST_ERRORS)]


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
    """Return the problem of a value, None if it is missing. Its words are the author's ``Message``,
    or else those ``written`` in a validator, or else those of a parameter of its type; ``unknown``
    where no parameter has that.
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

_WORDLESS = "Invalid value"  # of a check that raises ``ValueError()``


class _Search:
    """Looks for the mistakes in a document that msgspec has refused, as long as it may convert
    values again.
    """

    def __init__(self, maker: Maker, is_json: bool) -> None:
        self._maker = maker
        self._is_json = is_json
        self._left = MOST_VALUES

    def mistakes(
        self, error: ValueError, hint: Hint, value: object, path: Path = ()
    ) -> Iterator[ParameterError]:
        """Yield the mistakes inside a ``value`` that was refused by ``error``, or else its own."""
        own = self._maker.own
        is_found = False
        for inner, part, step, is_missing in _inside(hint, value) if len(path) < DEEPEST else ():
            at = (*path, step)
            if is_missing:
                is_found = True
                text = _at(f"Object missing required field `{step}`", path)
                yield _problem(own, inner, at, None, text, unknown=REQUIRED_FIELD)
                continue
            cost = CALL + count_values(part, self._left)
            if cost > self._left:  # what is smaller may still be converted
                continue
            self._left -= cost
            try:
                self._maker.make(part, self._is_json, inner)
            except ValueError as refused:
                is_found = True
                yield from self.mistakes(refused, inner, part, at)
        if not is_found:
            yield _described(error, hint, value, path, own)


def _described(
    error: Exception, hint: Hint, value: object, path: Path, own: OwnTypes
) -> ParameterError:
    """Return the problem of one value. If the mistake is deeper inside the value, msgspec's
    sentence ends with the place of the mistake.
    """
    before, dash, after = str(error).rpartition(" - at `")
    text, place = (before, after.removesuffix("`")) if dash else (after, "")
    if error.__cause__ is not None and is_structure(bare(hint)[0]):  # of a ``__post_init__``
        return _problem(own, hint, path, value, _at(_WORDLESS, path), written=text)
    if text.startswith("Invalid enum value"):  # msgspec quotes it
        choices = [one for one in kinds_in(hint) if get_origin(one) is Literal or is_enum(one)]
        expected = [converter_for(one, own).expected for one in choices]
        text = f"Expected {expected[0]}" if len(expected) == 1 else "Invalid enum value"
    elif text.startswith("Invalid value"):  # a tag
        text = _WORDLESS
    inner = tuple(
        name or (int(index) if index.isdigit() else index) for name, index in _STEP.findall(place)
    )
    path = (*path, *inner)
    return _problem(own, None if inner else hint, path, value, _at(without_markup(text), path))


def _inside(hint: Hint, value: object) -> Iterator[tuple[Hint, object, str | int, bool]]:
    """Yield annotation, value and place of each value inside another, and whether it is missing."""
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
    """Return msgspec's sentence for a place: "Expected `int` - at `$.lines[0]`"."""
    return f"{text} - at `${_steps(path)}`" if path else text


# -- pydantic --------------------------------------------------------------------------------------


def _of_pydantic(
    reason: Any, structure: Hint = None, own: OwnTypes = NO_OWN_TYPES
) -> Iterator[ParameterError]:
    """Yield what pydantic has found, unless it is so much that it takes seconds to describe."""
    count = reason.error_count()
    if count > MOST_ERRORS:
        text = f"{count} values are wrong"
        yield ParameterError("", "", None, text, sentence=text, words=INVALID)
        return
    for one in reason.errors(include_url=False, include_context=False):
        path, text, value = one["loc"], one["msg"], one["input"]
        is_written, unknown = words_of(one)
        if one["type"] == "missing":
            value, unknown = None, REQUIRED_FIELD
        written = unknown if is_written else ""
        if not unknown:
            text, unknown = _WORDLESS, INVALID
        unknown = without_markup(unknown)
        text = without_markup(_worded(path, text))
        yield _problem(own, _hint_at(structure, path), path, value, text, written, unknown)


def _hint_at(structure: Hint, path: Path) -> Hint:
    """Return the annotation of a place in a structure, None if it can't be told."""
    hint = structure
    for step in path:
        kind, _ = bare(hint)
        hints = [
            field.hint for one in members_of(kind) for field in fields_of(one) if field.name == step
        ]
        if isinstance(step, int):
            hints += islice(elements_of(kind) or (), step, step + 1)
        if not hints:
            return None
        hint = hints[0]
    return hint


def described(error: Exception) -> str:
    """Return what is wrong with a result of the author's, by the library that has refused it."""
    return (
        next(_of_pydantic(error)).sentence
        if hasattr(error, "error_count")
        else str(error) or _WORDLESS
    )
