"""``BindingError``: all values of a request that did not fit a handler's parameters; ``BindingErrors`` for forms."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from micropie.errors import BadRequest


@dataclass(frozen=True, slots=True)
class ParameterError:
    """One value that did not fit. ``str()`` of it is a sentence without the client's own text."""

    parameter: str
    """The handler's parameter."""
    source: str
    """Where the value was found: "path", "query", "form", "json", "file", "body"; "" if it is missing."""
    given: object
    """The value: text, or a value of JSON; None if it is missing. It is the client's: escape it in HTML."""
    expected: str
    """The kind of value that fits: "a whole number"."""
    path: tuple[str | int, ...] = ()
    """Where in a document the value is: ("lines", 0, "price")."""
    sentence: str = ""

    def __str__(self) -> str:
        return self.sentence


class BindingError(BadRequest):
    """Answer 400 to a request whose values do not fit. ``errors`` has every parameter that does not."""

    def __init__(self, errors: Sequence[ParameterError]) -> None:
        super().__init__(" ".join(str(error) for error in errors))
        self.errors = list(errors)


class BindingErrors:
    """The values that did not fit, for a handler that shows its form again: a parameter annotated with this class.

    The handler is called although values do not fit: their parameters have their defaults, or None. The object is
    empty, and false, if all fit. ``for error in errors`` gives each ``ParameterError``, ``errors["age"]`` the first one
    of a parameter, or None. ``given`` is what the query and the form had, those values that fit as well, to fill the
    form with: text by name, a list if a name has several values. It is the client's: escape it in HTML.
    """

    def __init__(self, errors: Iterable[ParameterError] = (), given: Mapping[str, object] | None = None) -> None:
        self._errors = list(errors)
        self.given = dict(given or {})

    def add(self, parameter: str, sentence: str) -> None:
        """Add the error of a check of the handler's own: ``errors.add("name", "This name is taken.")``."""
        self._errors.append(ParameterError(parameter, "", self.given.get(parameter), "", sentence=sentence))

    def extend(self, errors: Iterable[ParameterError]) -> None:
        """Add errors that were made elsewhere."""
        self._errors.extend(errors)

    def __getitem__(self, parameter: str) -> ParameterError | None:
        return next((error for error in self._errors if error.parameter == parameter), None)

    def __contains__(self, parameter: object) -> bool:
        return any(error.parameter == parameter for error in self._errors)

    def __iter__(self) -> Iterator[ParameterError]:
        return iter(self._errors)

    def __len__(self) -> int:
        return len(self._errors)
