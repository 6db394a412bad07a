"""``@requires``: checks of who may enter, written above handlers and applications, and run as one of their hooks."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, TypeAlias

from micropie.binding import ProvidedParameter, asked_after_first
from micropie.errors import SetupError, takes
from micropie.execution import CallKind, kind_of, layers
from micropie.routing.config import Chain, Config
from micropie.routing.discovery import wrapped_by
from micropie.routing.providers import Provider, needed_by

Check: TypeAlias = Callable[..., object]  # of the request, and of resources

REQUIRES = "__micropie_requires__"
HOLDS = "__micropie_holds__"  # on what ``requires`` returns: its first check


class Checks:
    """The checks of one handler or application. Hooks of the same application run before them."""

    guards = True
    needs_session = True

    def __init__(self, checks: Iterable[Check], config: Config) -> None:
        self.available = config.providers
        self.checks = [_asking(check, config) for check in checks]


class Asking(NamedTuple):
    """A check, how it is called, its parameters behind the request, and the providers of their resources."""

    name: str
    check: Check
    kind: CallKind
    asked: Sequence[ProvidedParameter]
    providers: Sequence[Provider]


def _asking(check: Check, config: Config) -> Asking:
    try:
        asked = asked_after_first(check, config.providers)
        providers = needed_by(asked, config.providers, config.own_types)
        for provider in providers:
            if provider.plan.body_parameter is not None:
                raise SetupError(f"{provider.name} takes a body, which is received after the checks")
    except SetupError as error:
        raise SetupError(f"the check {_name_of(check)}: {error}") from None
    return Asking(_name_of(check), check, kind_of(check), asked, providers)


def with_checks(config: Config, checks: Sequence[Check]) -> Config:
    """Return ``config`` with ``checks`` as its last hook; ``config`` itself if there are none."""
    if not checks:
        return config
    return replace(config, middlewares=Chain(config.middlewares, [Checks(checks, config)]))


def refuse_unless_check(check: Check) -> None:
    """Raise ``SetupError`` for what is no check, such as a handler below ``@requires`` without brackets."""
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
