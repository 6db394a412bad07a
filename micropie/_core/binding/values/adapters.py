"""Convert values with pydantic: values of its own types, such as ``HttpUrl``, and of annotations
that only pydantic can enforce, such as ``Annotated[str, AfterValidator(...)]``.

``is_adapted`` in ``values/constraints.py`` returns whether an annotation needs this module. The
module is imported for the first such annotation. By then, the application has imported pydantic.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, get_args

from micropie._core.binding.annotations import (
    MAPPINGS,
    Hint,
    element_types,
    owner_of,
    takes_json_text,
)
from micropie._core.binding.fields import kinds_in
from micropie._core.binding.values.constraints import (
    CONSTRAINTS,
    INVALID,
    LONGEST_TEXT,
    MOST_ERRORS,
    NO_ARRAY,
    NO_OBJECT,
    REQUIRED_FIELD,
    TOO_MANY,
    UNWANTED,
    BrokenConstraint,
    broken,
)
from micropie._core.binding.values.finder import finder_for
from micropie._core.binding.values.limits import (
    SizeError,
    check_fields,
    check_json_texts,
    check_numbers,
    check_sizes,
    has_chosen_hashes,
    longest_key,
)
from micropie._core.errors import SetupError
from micropie._core.http.json import isolated
from micropie._core.on_demand import by_name, pattern

if TYPE_CHECKING:
    from pydantic import TypeAdapter

MOST_COPIED = 100_000  # characters that pydantic may copy for the errors below one key

# Error messages of msgspec and pydantic quote parts of the client's document, and an application
# may send such a message as HTML. So remove all characters that could be markup: quotes, and each
# run of "<" as a whole, because removing only one "<" from "<<p" would leave "<p".
_MARKUP = pattern(r'(?<![<"])[<"]++(?=[A-Za-z/!?])|"')


# The types in pydantic's schemas whose values are encoded in the same way by ``dump_json`` as by
# ``model_dump(mode="json")`` and ``http/json.py``. Unless strict, they also accept the same values
# in parsed JSON as in its text.
SCHEMAS = pattern(
    "model(-fields?)?|(tagged-)?union|definition(s|-ref)|function-(after|before)|default|nullable"
    "|literal|enum|str|bytes|int|float|bool|none|decimal|date|time|datetime|timedelta|uuid|url|list"
    "|tuple|(frozen)?set|dict"
)
_OTHERS = ("config", "metadata", "function")  # parts of a schema that aren't schemas

# The errors that pydantic words otherwise if it parses the JSON: "array" instead of "list".
_WORDED = pattern("(model|dict|list|tuple|(frozen_)?set)(_attributes)?_type|none_.*|time_delta_.*")

# The errors about a constraint. Their context has its bound by its name.
_BROKEN = pattern(
    "((string|bytes)_)?too_(short|long)|(greater|less)_than(_equal)?|multiple_of"
    "|string_pattern_mismatch"
)
_OFFSETS = {"timezone_aware": True, "timezone_naive": False}
# The messages for errors about the kind of value, and about missing and unknown names.
_SENTENCES = by_name(
    {
        NO_OBJECT: "model_type model_attributes_type dataclass_type dict_type mapping_type",
        NO_ARRAY: "list_type tuple_type set_type frozen_set_type arguments_type",
        REQUIRED_FIELD: "missing",
        UNWANTED: "extra_forbidden unexpected_keyword_argument",
    }
)


def schemas_in(schema: object) -> Iterator[Mapping[str, Any]]:
    """Yield a schema of pydantic and the schemas inside it."""
    waiting = [schema]
    while waiting:
        part = waiting.pop()
        if isinstance(part, dict):
            if isinstance(part.get("type"), str):
                yield part
            waiting += [one for name, one in part.items() if name not in _OTHERS]
        elif isinstance(part, list | tuple):
            waiting += part


@lru_cache(maxsize=256)
def _takes_parsed(adapter: TypeAdapter[object]) -> bool:
    """Return whether pydantic accepts as much in a parsed document as in its text."""
    for part in schemas_in(adapter.core_schema):
        kind, config = part["type"], part.get("config", {})
        if (
            not SCHEMAS.fullmatch(kind)
            or kind == "decimal"  # numbers are parsed as Decimals
            or part.get("function", {}).get("type") == "with-info"
            or part.get("strict")
            or config.get("strict")
            or "val_json_bytes" in config
        ):
            return False
    return True


def without_markup(text: str) -> str:
    """Return an error message of msgspec or pydantic without the characters that could be HTML
    markup.
    """
    return _MARKUP.sub("", text)


def validated(adapter: TypeAdapter[object], document: object, is_json: bool) -> object:
    """Return the value that a ``TypeAdapter`` creates from a parsed document. Raises ``ValueError``
    if the document is invalid.

    ``is_json``: whether the document was sent as JSON. A form contains only strings, so it is never
    validated strictly.

    In strict mode, pydantic accepts the string "2026-01-31" as a date only if pydantic itself
    parses the JSON. So if pydantic rejects a document that was sent as JSON, the document is
    encoded as JSON again, for pydantic to parse, unless that makes no difference.
    """
    try:
        return adapter.validate_python(document, strict=is_json and None)
    except ValueError as error:
        is_final = not is_json or (
            _takes_parsed(adapter)
            and not any(_WORDED.fullmatch(one["type"]) for one in errors_of(error, document))
        )
        made = None if is_final else _read_again(adapter, document)
        if made is None:
            raise
        return made


def _read_again(adapter: TypeAdapter[object], document: object) -> object:
    """Encode the document as JSON, and return the value that pydantic creates from it. Return None
    if pydantic can't parse the JSON, for example because it contains half a surrogate pair.
    """
    decimals: list[object] = []

    def write(number: object) -> str:
        decimals.append(number)
        return str(number)

    # Encode Decimals as strings, because pydantic would parse numbers as floats. If pydantic needs
    # a float somewhere, encode Decimals as floats instead.
    try:
        return adapter.validate_json(json.dumps(document, default=write))
    except RecursionError:
        return None
    except ValueError as error:
        is_single = error.error_count() == 1  # type: ignore[attr-defined]
        found = errors_of(error, document) if is_single or decimals else ()
        kinds = [one["type"] for one in found]
        if kinds == ["json_invalid"]:
            return None
        if not decimals or (kinds and "float_type" not in kinds):
            raise
    return adapter.validate_json(json.dumps(document, default=float))


def errors_of(error: Any, document: object) -> Sequence[Mapping[str, Any]]:
    """Return the errors in pydantic's exception. Return () if there are more than ``MOST_ERRORS``,
    because pydantic would take seconds to describe them, and if the document has very long keys,
    because pydantic copies the keys that lead to a value for each error.
    """
    count = error.error_count()
    if count > MOST_ERRORS or (count > 1 and count * longest_key(document) > MOST_COPIED):
        return ()
    found = error.errors(include_url=False)
    return [one | {"msg": one["msg"][:LONGEST_TEXT]} for one in found]


class Adapter:
    """Converts values to the type of one annotation with pydantic. Raises ``SetupError`` if
    pydantic can't use the annotation.
    """

    def __init__(self, annotation: Hint) -> None:
        kind: Any = get_args(annotation)[0] if hasattr(annotation, "__metadata__") else annotation
        self.name = getattr(kind, "__name__", str(kind))
        self._annotation = annotation
        pydantic = sys.modules["pydantic"]
        check_fields(annotation, True, self.name)
        try:
            self._adapter = isolated(pydantic.TypeAdapter, annotation)
        except (ImportError, NameError, TypeError, pydantic.PydanticUserError) as error:
            sentence = str(error).partition("\n")[0]
            raise SetupError(f"pydantic can't create a {self.name}: {sentence}") from None
        self._has_hashes = any(map(has_chosen_hashes, kinds_in(annotation)))
        self._json_finder = finder_for(annotation, takes_json_text)
        is_text = takes_json_text(annotation)
        self.is_collection = not is_text and element_types(kind) is not None
        self.takes_text = is_text or owner_of(kind) not in MAPPINGS

    def convert(self, value: object, is_json: bool) -> object:
        """Return the converted value for a value from parsed JSON. Without ``is_json``, for a
        string, or for several strings if the type is a collection.
        """
        try:
            if self._has_hashes:
                check_sizes(value, False)
            if self._json_finder is not None:
                check_json_texts(value, self._json_finder)
            made = validated(self._adapter, value, is_json)
            check_numbers(made, self._annotation)
        except SizeError:
            raise BrokenConstraint("max_length", TOO_MANY) from None
        except ValueError as error:
            if value is None or value == "" or not hasattr(error, "errors"):
                raise ValueError(value) from None
            for one in errors_of(error, value):
                raise self._refused(one, error) from None
            raise BrokenConstraint("invalid", INVALID) from None
        return made

    def _refused(self, one: Mapping[str, Any], reason: ValueError) -> BrokenConstraint:
        """Return the error for the first one of pydantic's."""
        refused = refusal(one, words_of(one)[1])
        if self._json_finder is not None and one["loc"]:
            refused.inside = reason, self._annotation
        return refused


def refusal(problem: Mapping[str, Any], words: str) -> BrokenConstraint:
    """Return a pydantic error as that of a parameter. Its sentence is pydantic's message ``words``,
    unless there is one of ours.
    """
    kind = problem["type"]
    if kind in _SENTENCES:
        return BrokenConstraint("invalid", _SENTENCES[kind])
    if kind in _OFFSETS:
        return broken("tz", _OFFSETS[kind], problem["input"])
    if _BROKEN.fullmatch(kind):
        bounds = problem.get("ctx", {})
        for name in bounds.keys() & CONSTRAINTS:
            return broken(name, bounds[name], problem["input"])
    return BrokenConstraint("invalid", without_markup(words) or INVALID)


def words_of(problem: Mapping[str, Any]) -> tuple[bool, str]:
    """Return whether a validator of the application has written the message of a pydantic error,
    and the message itself.
    """
    is_written = problem["type"] in ("value_error", "assertion_error")
    words = problem["msg"]
    if is_written:
        words = words.removeprefix("Value error, ").removeprefix("Assertion failed, ")
    return is_written, words
