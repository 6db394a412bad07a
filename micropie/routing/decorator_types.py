"""Types of the decorators of ``App`` whose names an author's handlers may have: ``def get(self, number: int)``.

A type checker takes such a handler for a wrong override: it isn't called as the decorator is. So the decorator is
declared as a descriptor, ``Overridable``, which functions are, too; ``__get__`` has the decorator's own type. mypy
compares the value of ``__get__`` instead. For it the type depends on the class: in one that has a handler of that name
it is that of any function. pyright reads a protocol's member without ``__get__``, so it can't be given the same.
Nothing of this exists while an application runs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar, overload

from micropie.routing.config import ErrorKey
from micropie.routing.decorators import Function

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")
Unchanged = TypeVar("Unchanged")
Unchanged_contra = TypeVar("Unchanged_contra", contravariant=True)
Decorator_co = TypeVar("Decorator_co", covariant=True)

MYPY = False  # mypy takes a name like this for true


class Overridable(Protocol[Unchanged_contra, Decorator_co]):
    """A method whose name an author's handler may have; ``Unchanged_contra`` is a class without such a handler."""

    if MYPY:

        @overload
        def __get__(self, app: Unchanged_contra, cls: type | None = None, /) -> Decorator_co: ...
        @overload
        def __get__(self, app: object, cls: type | None = None, /) -> Callable[..., Any]: ...
        def __get__(self, app: Any, cls: type | None = None, /) -> Any: ...

    else:

        def __get__(self, app: object, cls: type | None = None, /) -> Decorator_co: ...


def overridable(
    unchanged: Callable[..., Unchanged],
) -> Callable[[Callable[Concatenate[Any, Parameters], Result]], Overridable[Unchanged, Callable[Parameters, Result]]]:
    """Tell type checkers that a handler may have this method's name. ``unchanged``: of the protocols below."""
    return lambda method: method


class Decorator(Protocol):
    """The decorator that ``app.get("/pies")`` returns."""

    def __call__(self, function: Function, /) -> Function:
        """Register ``function``, and return it as it is."""


class _Verb(Protocol):
    def __call__(self, path: str, *, name: str | None = None) -> Decorator: ...


class _Error(Protocol):
    def __call__(self, key: ErrorKey) -> Decorator: ...


class HasGet(Protocol):
    """An ``App`` whose ``get`` is the decorator."""

    @property
    def get(self) -> _Verb: ...


class HasPost(Protocol):
    """An ``App`` whose ``post`` is the decorator."""

    @property
    def post(self) -> _Verb: ...


class HasPut(Protocol):
    """An ``App`` whose ``put`` is the decorator."""

    @property
    def put(self) -> _Verb: ...


class HasPatch(Protocol):
    """An ``App`` whose ``patch`` is the decorator."""

    @property
    def patch(self) -> _Verb: ...


class HasDelete(Protocol):
    """An ``App`` whose ``delete`` is the decorator."""

    @property
    def delete(self) -> _Verb: ...


class HasError(Protocol):
    """An ``App`` whose ``error`` is the decorator."""

    @property
    def error(self) -> _Error: ...
