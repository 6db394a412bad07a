"""Providers, registered with ``@app.provides(Session)``: functions that open resources for checks,
for handlers and for ``request.resource``. Each resource is opened at most once per request.

A provider is a generator function (``def`` or ``async def``) that yields once, or any callable that
returns the value or a context manager for it. A plain function may have parameters: resources of
other providers, the request, and values from the client, which are bound by name like a handler's.
Any other callable, such as a class, is called without arguments, because clients must not set its
parameters.

Resources are opened one after the other, each after the resources that it depends on.
``execution/steps/generators.py`` closes them.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, AsyncContextDecorator, ContextDecorator, suppress
from types import AsyncGeneratorType, GeneratorType
from typing import Any, cast

from micropie._core.binding import (
    OwnTypes,
    Plan,
    is_key,
    is_provider,
    owner_of,
    provider_keys,
    type_name,
)
from micropie._core.errors import (
    ResponseError,
    SetupError,
    check_manager,
    has_yield,
    is_async,
    name_of,
    signature_of,
)
from micropie._core.execution import entered_on_loop
from micropie._core.execution.placement import LOOP, MARK, AnyFunction, Given, innermost
from micropie._core.execution.steps import (
    AWAIT,
    HANDLER,
    INLINE,
    ON_LOOP,
    Flow,
    Kind,
    ResourceContext,
    Resources,
    RunningGenerator,
    awaited,
)
from micropie._core.http import BindingErrors, Request
from micropie._core.http.forms import UploadFile
from micropie._core.http.websockets import WebSocketRequest


class Provider:
    """A function that opens a resource, or a class whose objects are the resource.

    Providers of an inner and an outer application are equal if they have the same function and
    depend on equal providers. Then both applications share one resource in each request.

    - ``key``: the type of the resource, or the provider function itself.
    - ``name``: the function's name, for messages.
    - ``plan``: binds the provider's arguments.
    - ``needs``: the providers that its parameters depend on, directly or indirectly, in the order
      in which their resources are opened.
    - ``call_kind``: the kind of step that calls the provider.
    - ``run_kind``: the kind of step that runs the provider's generator, unless the generator is
      async.
    - ``is_class``: whether the provider is a class of async context managers. Its objects are
      created and entered on the event loop.
    """

    def __init__(
        self, key: object, function: AnyFunction, keys: Container[object], own: OwnTypes
    ) -> None:
        inner = innermost(function)
        check_manager(function)
        self.key = key
        self.name = getattr(inner, "__qualname__", type(inner).__qualname__)
        self.run_kind: Kind = ON_LOOP if getattr(function, MARK, None) == LOOP else HANDLER
        self.call_kind: Kind = self.run_kind
        if inspect.iscoroutinefunction(inner):
            self.call_kind = AWAIT
        elif has_yield(inner):
            # Calling a generator function doesn't run its code yet, so it can't block.
            self.call_kind = INLINE
        self.is_class = isinstance(inner, type) and hasattr(inner, "__aenter__")
        has_parameters = inspect.isfunction(function) or inspect.ismethod(function)
        if not has_parameters:
            try:  # don't follow ``__wrapped__``, because a wrapper may pass arguments of its own
                signature_of(function, follow_wrapped=False).bind()
            except TypeError as error:
                raise SetupError(
                    f"{self.name}, which provides {type_name(key)}, is called without arguments, "
                    f"but is {error}: write a def that calls it"
                ) from None
            except ValueError:  # a class in C may have no signature
                pass
        call = function if has_parameters else lambda: function()  # noqa: PLW0108 - its signature is what matters
        try:
            self.plan = Plan(call, provided=keys, is_provider=True, own=own)
        except SetupError as error:
            raise SetupError(f"{self.name}, which provides {type_name(key)}: {error}") from None
        self.needs: Sequence[Provider] = ()
        self._parts = key, function, own if self.plan.reads_values else None

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Provider)
            and self._parts == other._parts
            and self.needs == other.needs
        )

    def __hash__(self) -> int:
        return hash(self.key)


class Providers:
    """The providers of an application, including those of the applications that contain it.

    ``functions``: the provider functions that are registered for a type, as a dict by that type. A
    function that a parameter's annotation names directly doesn't have to be registered.
    """

    def __init__(self, functions: Mapping[object, AnyFunction], own: OwnTypes) -> None:
        self.functions = functions
        self._own = own
        self._found: dict[object, Provider] = {}

    def __contains__(self, key: object) -> bool:
        with suppress(TypeError):  # metadata inside the type may not be hashable
            return key in self.functions
        return False

    def needed_for(
        self, keys: Iterable[object], path: tuple[object, ...] = ()
    ) -> Sequence[Provider]:
        """Return the providers for the resources ``keys`` and the providers that these depend on,
        in the order in which their resources are opened.

        ``path``: the keys of the providers that depend on ``keys``, directly or indirectly. Each of
        these providers depends on the next.

        Raises ``SetupError`` if providers depend on each other in a circle, and for a provider's
        parameter that nothing can fill.
        """
        found = [self._find(key, path) for key in keys]
        return [*dict.fromkeys(needed for one in found for needed in (*one.needs, one))]

    def _find(self, key: object, path: tuple[object, ...] = ()) -> Provider:
        if key in path:
            circle = " needs ".join(map(type_name, [*path[path.index(key) :], key]))
            raise SetupError(f"{circle}: providers can't depend on one another in a circle")
        found = self._found.get(key)
        if found is None:
            # A key that is a function is its own provider, unless a test has registered another
            # function for it in ``functions``.
            function = cast("AnyFunction", self.functions.get(key, key))
            found = Provider(key, function, self, self._own)
            keys = (needed.key for needed in found.plan.provided)
            found.needs = self.needed_for(keys, (*path, key))
            self._found[key] = found
        return found

    def of_check(self, check: AnyFunction) -> Mapping[str, Provider]:
        """Return the providers for a check's parameters, as a dict by parameter name. The first
        parameter is left out, because it is the request.

        Raises ``SetupError`` for a parameter without a provider, and for a provider that reads the
        body.
        """
        keys = provider_keys(check, 1, self, refuses_others=True)
        self._without_body(keys.values())
        return {name: self._find(key) for name, key in keys.items()}

    def refuse_resources(self, function: AnyFunction, given: int) -> None:
        """Raise ``SetupError`` if a function, such as a hook, has a parameter annotated with a
        resource.

        ``given``: the number of parameters to skip, because the caller passes their values.
        """
        for name, key in provider_keys(function, given, self).items():
            with_ = "async with" if is_async(function) else "with"
            raise SetupError(
                f"{name_of(function)} can't get a resource as a "
                f'parameter (handlers, checks, commands and providers can): write "{with_} '
                f'request.resource({type_name(key)}) as {name}:" inside the function'
            )

    def resource(self, request: Request, key: object) -> ResourceContext[Any]:
        """Return the context manager for ``request.resource(key)``. Raises ``LookupError`` if
        nothing provides ``key``, and ``SetupError`` if a provider reads the body.
        """
        found = next((one for one in (key, owner_of(key)) if one in self), None)
        if found is None:
            if not (inspect.isroutine(key) or is_provider(key)):
                raise LookupError(
                    f"nothing provides {type_name(key)}: write @app.provides(...) with this type "
                    "above a function that returns it"
                )
            found = key
        needed = self._without_body([found])
        provider = needed[-1]

        def opening(resources: Resources) -> Flow[object]:
            yield from open_resources(request, resources, needed)
            return resources.values[provider]

        return ResourceContext(request._exchange, opening)

    def _without_body(self, keys: Iterable[object]) -> Sequence[Provider]:
        needed = self.needed_for(keys)
        for one in needed:
            if one.plan.body_parameter is not None:
                raise SetupError(
                    f"{one.name} reads the body, but has to run before the body is received: "
                    "read the body in the handler"
                )
        return needed


def open_resources(
    request: Request, resources: Resources, providers: Sequence[Provider]
) -> Flow[None]:
    """Open the resources of ``providers``, in this order, except those that are open already.

    The arguments of all providers are bound before the first resource is opened. So a request with
    an invalid query doesn't open a database connection, for example.
    """
    exchange, values = request._exchange, resources.values
    in_path = dict(
        zip(exchange.route.path_names if exchange.route else (), request.path_params, strict=False)
    )
    bound = [(one, one.plan.bind(request, (), in_path)) for one in providers if one not in values]
    for provider, own in bound:
        arguments = provider.plan.with_provided(
            own, {one.key: values[one] for one in provider.needs}
        )
        made = values[provider] = yield from _open(resources, provider, arguments)
        if made is None and exchange.config.advisor is not None:
            exchange.config.advisor.review_provided(provider)


def _open(resources: Resources, provider: Provider, arguments: Sequence[object]) -> Flow[object]:
    """Call a provider and return its resource. If the resource must be closed later, the generator
    that closes it is added to ``resources``.
    """
    function: Any = provider.plan.call
    made: Any
    if provider.is_class:
        made = entered_on_loop(functools.partial(function, *arguments))
    elif provider.call_kind == INLINE:
        made = function(*arguments)
    else:
        made = yield provider.call_kind, function, arguments
        if made.__class__ is Given:
            return made.resource
    if not hasattr(type(made), "__aenter__"):
        # If an object is both awaitable and an async context manager, enter it instead of awaiting
        # it.
        made = yield from awaited(made)
    if hasattr(type(made), "__aenter__"):
        manager = made
        made = entered_on_loop(lambda: manager)
    elif hasattr(type(made), "__enter__"):
        made = _entered(made)
    if isinstance(made, AsyncGeneratorType):
        made = resources.shield(made)
    elif not isinstance(made, GeneratorType):
        return made
    generator = RunningGenerator(made, provider.run_kind, provider)
    resources.append(generator)
    value = yield from generator.resume(None)
    if generator.has_ended:
        raise ResponseError(
            f"{provider.name}, which provides {type_name(provider.key)}, ended without yielding it"
        )
    return value


def _entered(manager: AbstractContextManager[object]) -> Iterator[object]:
    """Enter a context manager, yield its value, and exit it."""
    with manager as value:
        yield value


def check_provider(function: object) -> None:
    """Raise ``SetupError`` if a context manager is passed instead of the function that returns it,
    because then the resource would be opened only once, and for a function that never makes one.
    """
    check_manager(function)
    if isinstance(function, ContextDecorator | AsyncContextDecorator):
        raise SetupError(
            "app.provides(...) takes a function that opens the resource for each request: pass the "
            "function without calling it, as in app.provides(Session)(sessionmaker(engine).begin)"
        )


def check_key(key: object) -> None:
    """Raise ``SetupError`` unless ``key`` can be the type of a resource. Parameters that get the
    resource are annotated with this type.
    """
    if not is_key(key):
        raise SetupError(
            f"{key!r} can't be provided, because it is neither a class nor a NewType: name "
            "the type of the resource, as in @app.provides(Session)"
        )
    if key in _OF_REQUESTS:
        raise SetupError(
            f"{type_name(key)} can't be provided, because micropie creates one for each request"
        )
    if getattr(owner_of(key), "__module__", "") == "builtins":
        name = type_name(key)
        raise SetupError(
            f"provides({name}) would take over every parameter that is annotated with {name}: "
            f'write Token = NewType("Token", {name}) and provides(Token)'
        )


_OF_REQUESTS = (Request, WebSocketRequest, UploadFile, BindingErrors)


def provider_of(fake: object) -> AnyFunction:
    """Return the provider with which a test replaces another one. If ``fake`` is a function or a
    class, return ``fake`` itself. Otherwise, return a function that yields ``fake``.
    """
    if inspect.isroutine(fake) or isinstance(fake, type | functools.partial):
        return fake

    def give() -> Iterator[object]:
        yield fake

    setattr(give, MARK, LOOP)  # ``give`` never blocks, so don't call it in a worker thread
    return give
