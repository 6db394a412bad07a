"""``@requires``: checks of who may enter, written above handlers and applications, and run as their last hooks."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Protocol, TypeAlias, runtime_checkable

from micropie.binding import ProvidedParameter, asked_after_first
from micropie.errors import SetupError, takes
from micropie.execution import CallKind, kind_of, layers
from micropie.routing.config import Chain, Config
from micropie.routing.discovery import wrapped_by
from micropie.routing.providers import Provider, needed_by


@runtime_checkable
class Guard(Protocol):
    """Middleware that decides who may enter, such as ``BearerAuth``."""

    @property
    def guards(self) -> bool: ...


CheckFunction: TypeAlias = Callable[..., object]  # of the request, and of resources
Check: TypeAlias = CheckFunction | Guard

REQUIRES = "__micropie_requires__"
HOLDS = "__micropie_holds__"  # on what ``requires`` returns: its first check


@dataclass(frozen=True, slots=True)
class Checking:
    """A hook that asks a check. It has the parameters behind the request, the providers of their resources, and those
    that are ``available`` there.
    """

    guards: ClassVar = True
    needs_session: ClassVar = True

    name: str
    check: CheckFunction
    kind: CallKind
    asked: Sequence[ProvidedParameter]
    providers: Sequence[Provider]
    available: object


def _checking(check: CheckFunction, config: Config) -> Checking:
    try:
        asked = asked_after_first(check, config.providers)
        providers = needed_by(asked, config.providers, config.own_types)
        for provider in providers:
            if provider.plan.body_parameter is not None:
                raise SetupError(f"{provider.name} takes a body, which is received after the checks")
    except SetupError as error:
        raise SetupError(f"the check {_name_of(check)}: {error}") from None
    return Checking(_name_of(check), check, kind_of(check), asked, providers, config.providers)


def with_checks(config: Config, checks: Sequence[Check]) -> Config:
    """Return ``config`` with ``checks`` as its last hooks, in their order; ``config`` itself if there are none."""
    if not checks:
        return config
    hooks: list[object] = [check if isinstance(check, Guard) else _checking(check, config) for check in checks]
    return replace(config, middlewares=Chain(config.middlewares, hooks))


def refuse_unless_check(check: Check) -> None:
    """Raise ``SetupError`` for what is no check, such as a handler below ``@requires`` without brackets."""
    if isinstance(check, Guard) and check.guards and not isinstance(check, type):
        return
    is_generator = inspect.isgeneratorfunction(check) or inspect.isasyncgenfunction(check)
    is_method = inspect.isfunction(check) and [*inspect.signature(check).parameters][:1] == ["self"]
    if isinstance(check, type) or is_generator or is_method or not _takes_request(check):
        raise SetupError(
            f"{_name_of(check)} is no check: write @requires(members), with a function of the request without yield, "
            "def members(request)"
        )


def _takes_request(check: Check) -> bool:
    """Return whether a check can be called with the request, and with resources for its annotated parameters."""
    if takes(check, 1) or not inspect.isfunction(check):
        return takes(check, 1)
    others = [*inspect.signature(check, follow_wrapped=False).parameters.values()][1:]
    return bool(others) and all(one.annotation is not one.empty or one.default is not one.empty for one in others)


def mark_checks(target: object, checks: Sequence[Check]) -> None:
    """Leave the mark of ``@requires`` on a handler, a class or an application."""
    setattr(target, REQUIRES, [*checks, *_own_checks(target)])


def checks_of(app: object) -> Sequence[Check]:
    """Return the checks of an application: of its class's bases, of its class, of the object itself."""
    return [check for owner in (*reversed(type(app).__mro__), app) for check in _own_checks(owner)]


def checks_of_handler(function: Callable[..., object]) -> Sequence[Check]:
    """Return the checks of a handler. Raises ``SetupError`` if a decorator hides them.

    ``functools.wraps`` copies the mark to the function that it makes. A decorator without it makes one that has the
    handler in a variable, where a mark would be overlooked.
    """
    for layer in layers(function):
        if hasattr(layer, HOLDS):
            name = _name_of(getattr(layer, HOLDS))
            raise SetupError(f"@requires takes {name} for a check: write @requires(members) above it, with your check")
    checks = [check for layer in layers(function) for check in _own_checks(layer)]
    if not checks:
        for inner in wrapped_by(function):
            if _own_checks(inner):
                raise SetupError(
                    f"a decorator above @requires hides it from {_name_of(inner)}: write @requires above all others"
                )
    return [*dict.fromkeys(checks)]


def _own_checks(target: object) -> Sequence[Check]:
    checks: Sequence[Check] = getattr(target, "__dict__", {}).get(REQUIRES, ())
    return checks


def _name_of(function: Any) -> str:
    *_, inner = layers(function)
    return getattr(inner, "__qualname__", None) or repr(inner)
