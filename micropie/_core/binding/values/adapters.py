"""Convert values with pydantic: those of its own types, such as ``HttpUrl``, and those of
annotations that only pydantic can enforce, such as ``Annotated[str, AfterValidator(...)]``.

``is_adapted`` in ``values/constraints.py`` decides which annotations these are. This module is
imported for the first such annotation, so pydantic has been imported by then.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, get_args, get_origin

from micropie._core.binding.annotations import Hint, elements_of, is_json_text
from micropie._core.binding.fields import kinds_in
from micropie._core.binding.values.constraints import INVALID, BrokenConstraint
from micropie._core.binding.values.limits import (
    check_fields,
    check_numbers,
    check_sizes,
    has_chosen_hashes,
)
from micropie._core.errors import SetupError
from micropie._core.on_demand import pattern

if TYPE_CHECKING:
    from pydantic import TypeAdapter

# Messages of msgspec and pydantic quote keys and tags from the client, and an author may send a
# message as HTML. So what could be markup is removed: quotes, and all "<" in a row, because
# removing one of "<<p" would leave "<p".
_MARKUP = pattern(r'(?<![<"])[<"]++(?=[A-Za-z/!?])|"')


def without_markup(text: str) -> str:
    """Return a library's error message without text from a client that could be HTML markup."""
    return _MARKUP.sub("", text)


def validated(adapter: TypeAdapter[object], document: object, is_json: bool) -> object:
    """Return the value that a ``TypeAdapter`` makes from a document. The texts of a form are never
    validated strictly.

    With strict types, pydantic accepts "2026-01-31" as a date in a JSON text only. So if the
    document is refused, it is encoded as JSON and validated again. Raises ``ValueError``.
    """
    try:
        return adapter.validate_python(document, strict=is_json and None)
    except ValueError:
        made = _read_again(adapter, document) if is_json else None
        if made is None:
            raise
        return made


def _read_again(adapter: TypeAdapter[object], document: object) -> object:
    """Return the value made from the document's JSON text. Return None if pydantic can't parse the
    text, for example because it has half a surrogate pair.
    """
    write: type = str  # as text, because pydantic parses a Decimal written as a number as a float
    while True:
        try:
            return adapter.validate_json(json.dumps(document, default=write))
        except RecursionError:
            return None
        except ValueError as error:
            kinds = [one["type"] for one in error.errors()]  # type: ignore[attr-defined]
            if kinds == ["json_invalid"]:
                return None
            if write is float or "float_type" not in kinds:
                raise
            write = float


class Adapter:
    """Makes the values of one annotation. Raises ``SetupError`` if pydantic can't use the
    annotation.
    """

    def __init__(self, annotation: Hint) -> None:
        kind, *metadata = (
            get_args(annotation) if hasattr(annotation, "__metadata__") else (annotation,)
        )
        self.name = getattr(kind, "__name__", str(kind))
        self._annotation = annotation
        pydantic = sys.modules["pydantic"]
        kinds = kinds_in(annotation)
        check_fields(kinds, True, self.name)
        try:
            self._adapter = pydantic.TypeAdapter(annotation)
        except (ImportError, NameError, TypeError, pydantic.PydanticUserError) as error:
            sentence = str(error).partition("\n")[0]
            raise SetupError(f"pydantic can't make a {self.name}: {sentence}") from None
        self._has_hashes = any(map(has_chosen_hashes, kinds))
        is_text = any(map(is_json_text, metadata))
        self.is_collection = not is_text and elements_of(kind) is not None
        self.takes_text = is_text or (get_origin(kind) or kind) not in (dict, Mapping)

    def from_text(self, value: object) -> object:
        """Return the value for a text or, if the type is a collection, for several texts."""
        return self._make(value, False)

    def from_json(self, value: object) -> object:
        """Return the value for a JSON value."""
        return self._make(value, True)

    def _make(self, value: object, is_json: bool) -> object:
        try:
            if self._has_hashes:
                check_sizes(value, False)
            made = validated(self._adapter, value, is_json)
            check_numbers(made, self._annotation)
        except ValueError as error:
            if value == "" or not hasattr(error, "errors"):
                raise ValueError(value) from None
            first = error.errors(include_url=False, include_context=False)[0]
            _, words = words_of(first)
            raise BrokenConstraint("invalid", without_markup(words) or INVALID) from None
        return made


def words_of(problem: Mapping[str, Any]) -> tuple[bool, str]:
    """Return whether the sentence of a pydantic error comes from an author's validator, and the
    sentence.
    """
    is_written = problem["type"] in ("value_error", "assertion_error")
    words = problem["msg"]
    if is_written:
        words = words.removeprefix("Value error, ").removeprefix("Assertion failed, ")
    return is_written, words
