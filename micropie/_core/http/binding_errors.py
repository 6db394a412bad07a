"""The invalid values of a request: ``BindingError`` becomes a 400, and ``BindingErrors`` is for
handlers that show a form again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from micropie._core.errors import BadRequest
from micropie._core.http.json import dumps, loads
from micropie._core.http.protocols import Json


@dataclass(frozen=True, slots=True)
class ParameterError:
    """One invalid value.

    ``str(error)`` is a sentence for the visitor. It contains no text from the client.
    """

    parameter: str
    """The name of the handler's parameter."""
    source: str
    """The part of the request that contains the value: "path", "query", "form", "json", "file" or
    "body"; "" if the value is missing.
    """
    given: object
    """The value: text, or a value from JSON; None if it is missing. It comes from the client, so
    escape it in HTML.
    """
    expected: str
    """A description of the valid values, such as "a whole number"."""
    path: tuple[str | int, ...] = ()
    """The keys and indexes that lead to the value in a JSON document, such as ("lines", 0,
    "price").
    """
    sentence: str = ""
    """The error message for developers, which contains the name of the parameter."""
    field: str = ""
    """The name of the form's field: "name", "lines[0].price"; by default the parameter's name."""
    words: str = ""
    """The error message for visitors: one that the application defines, or a default such as
    "Please enter a whole number.". If it is "", ``sentence`` is used instead.
    """

    def __post_init__(self) -> None:
        if not self.field:
            # ``self.field = ...`` fails, because the dataclass is frozen
            object.__setattr__(self, "field", self.parameter)

    def __str__(self) -> str:
        return self.words or self.sentence


class BindingError(BadRequest):
    """The client gets a 400 because values in its request are invalid.

    ``errors``: a ``ParameterError`` for each invalid value.

    The message joins ``str(error)`` of all errors, each after the name of its field.
    """

    def __init__(self, errors: Sequence[ParameterError]) -> None:
        super().__init__(" ".join([f"{error.field}: {error}" for error in errors]))
        self.errors = list(errors)


class BindingErrors:
    """The invalid values of a request, for a handler that shows its form again. Annotate a
    parameter of the handler with this class.

    The handler is then called even if values are invalid. A parameter whose value is invalid gets
    its default, or None. The object is empty, and false, if all values are valid.

    - ``for error in errors`` yields each ``ParameterError``.
    - ``errors["age"]`` is the first error of a form's field or of a parameter, or None.
    - ``errors["lines[0].price"]`` is the first error of a nested field, or None.
    - ``given``: the values of the query and the form, with which to fill the form. It maps names to
      text, or to a list if a name has several values. For names like ``lines[0].price``, it also
      maps "lines" to a list of dicts. The values come from the client, so escape them in HTML.
    - ``is_submitted``: whether a form was sent.

    Tests can create an object directly.
    """

    def __init__(
        self,
        errors: Iterable[ParameterError] = (),
        given: Mapping[str, object] | None = None,
        *,
        is_submitted: bool = False,
    ) -> None:
        self._errors = list(errors)
        self.given = dict(given or {})
        self._is_submitted = is_submitted

    def fill(self, values: object) -> None:
        """Put ``values`` into ``given`` when a form is shown for the first time; do nothing if a
        form was sent.

        ``values``: a dict, or an object of a form class, for example the object that the form
        edits.
        """
        if not self._is_submitted:
            self.given |= _as_texts(loads(dumps(values)))

    def add(self, field: str, sentence: str) -> None:
        """Add an error that the handler found: ``errors.add("name", "This name is taken.")``."""
        self._errors.append(ParameterError(field, "", self.given.get(field), "", sentence=sentence))

    def extend(self, errors: Iterable[ParameterError]) -> None:
        """Add errors that were found elsewhere, for example in another form."""
        self._errors.extend(errors)

    def __getitem__(self, field: str) -> ParameterError | None:
        return next((error for error in self._errors if field in _names_of(error)), None)

    def __contains__(self, field: str) -> bool:
        return self[field] is not None

    def __iter__(self) -> Iterator[ParameterError]:
        return iter(self._errors)

    def __len__(self) -> int:
        return len(self._errors)


def _names_of(error: ParameterError) -> tuple[str, ...]:
    """Return the names under which a field's value may have been sent. The element "sizes[1]" of a
    list may also have been sent as one of several values named "sizes".
    """
    name, _, number = error.field.rpartition("[")
    other = name if number.removesuffix("]").isdigit() else error.field
    return (error.field, other) if error.path else (error.field, error.parameter)


def _as_texts(value: Json) -> Json:
    """Return a JSON value as a form would send it: True as "on", False and None as ""."""
    if isinstance(value, dict):
        return {name: _as_texts(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_as_texts(one) for one in value]
    return (
        {True: "on", False: "", None: ""}[value]
        if value is None or isinstance(value, bool)
        else str(value)
    )
