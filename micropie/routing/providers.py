"""``@app.provides(Session)``: functions that open the resources of handlers, once for each request.

A provider is a generator function, ``def`` or ``async def``, that yields once, or any callable that returns a context
manager or the value itself. A plain function may have parameters: resources of other providers, the request, and
values of the client's, which are bound by name as a handler's are. Another callable, such as a class, is called without
arguments, because its parameters are not meant for clients.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import NewType, TypeAlias, TypeVar, cast

from micropie.binding import OwnTypes, Plan, ProvidedParameter
from micropie.errors import SetupError
from micropie.execution import AWAIT, BLOCK, INLINE, LOOP, MARK, CallKind, layers
from micropie.http import BindingErrors, Request, UploadFile, WebSocketRequest

Providers: TypeAlias = Mapping[object, Callable[..., object]]

Function = TypeVar("Function", bound=Callable[..., object])


class Provider:
    """The provider of ``key``. ``plan`` binds its arguments.

    ``call_kind`` is how it is called, and ``run_kind`` how a plain generator of it runs. ``is_class``: it makes async
    context managers, on the event loop.
    """

    __slots__ = ("call_kind", "is_class", "key", "name", "plan", "run_kind")

    def __init__(self, key: object, function: Callable[..., object], keys: Collection[object], own: OwnTypes) -> None:
        *_, inner = layers(function)
        self.key = key
        self.name = getattr(inner, "__qualname__", type(inner).__qualname__)
        self.run_kind: CallKind = INLINE if getattr(function, MARK, None) == LOOP else BLOCK
        self.call_kind: CallKind = self.run_kind
        if inspect.iscoroutinefunction(inner):
            self.call_kind = AWAIT
        elif inspect.isgeneratorfunction(inner) or inspect.isasyncgenfunction(inner):
            self.call_kind = INLINE  # none of its code runs then
        self.is_class = isinstance(inner, type) and hasattr(inner, "__aenter__")
        has_parameters = inspect.isfunction(function) or inspect.ismethod(function)
        call = function if has_parameters else lambda: function()  # noqa: PLW0108 - its signature is what matters
        try:
            self.plan = Plan(call, provided=keys, is_provider=True, own=own)
        except SetupError as error:
            raise SetupError(f"{self.name}, which provides {name_of(key)}: {error}") from None


def checked_key(key: object) -> object:
    """Return ``key`` if a parameter can be annotated with it to ask for a resource. Raises ``SetupError``."""
    if not isinstance(key, type | NewType):
        raise SetupError(f"provides takes the type that parameters are annotated with, not {key!r}")
    if key in _OF_REQUESTS:
        raise SetupError(f"{name_of(key)} can't be provided: every request has its own")
    if getattr(key, "__module__", "") == "builtins":
        name = name_of(key)
        raise SetupError(
            f"provides({name}) would take over every parameter that is annotated with {name}: write "
            f'Token = NewType("Token", {name}) and provides(Token)'
        )
    return key


_OF_REQUESTS = (Request, WebSocketRequest, UploadFile, BindingErrors)


def checked_provider(function: Function) -> Function:
    """Return ``function``. Raises ``SetupError`` for a value that can't be called."""
    if not callable(function):
        raise SetupError(f"provides stands above a function or takes a callable, not {function!r}")
    return function


def in_place_of(key: object, fake: object) -> Callable[..., object]:
    """Return the provider that a test puts in the place of another: ``fake``, or one that gives ``fake`` as it is."""
    if inspect.isroutine(fake) or isinstance(fake, type | functools.partial):
        return fake

    def give() -> Iterator[object]:
        yield fake

    setattr(give, MARK, LOOP)  # nothing in it can block
    return give


def needed_by(parameters: Iterable[ProvidedParameter], providers: Providers, own: OwnTypes) -> Sequence[Provider]:
    """Return the providers of some parameters, each after those that it needs itself.

    Raises ``SetupError`` for a circle, and for a provider's parameter that nothing can fill.
    """
    found: dict[object, Provider] = {}

    def visit(key: object, path: tuple[object, ...]) -> None:
        if key in path:
            circle = " needs ".join(map(name_of, [*path[path.index(key) :], key]))
            raise SetupError(f"{circle}: providers can't need each other")
        if key not in found:
            # A function that an annotation names is the key itself, unless a test puts another in its place.
            function = providers[key] if key in providers else cast("Callable[..., object]", key)
            provider = Provider(key, function, providers, own)
            for needed in provider.plan.provided:
                visit(needed.key, (*path, key))
            found[key] = provider

    for asked in parameters:
        visit(asked.key, ())
    return list(found.values())


def check_providers(providers: Providers, own: OwnTypes) -> None:
    """Raise ``SetupError`` for a mistake in any of them, be it used or not."""
    needed_by([ProvidedParameter("", key, None) for key in providers], providers, own)


def name_of(key: object) -> str:
    """Return a type's name for messages."""
    return getattr(key, "__name__", repr(key))
