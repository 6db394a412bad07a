"""``@requires``: checks of who may enter, written above handlers and applications, and run as one of their hooks."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any, TypeAlias

from micropie.errors import HTTPError, SetupError
from micropie.execution import Flow, call, kind_of, layers
from micropie.http import Request
from micropie.routing.config import Chain, Config
from micropie.routing.discovery import wrapped_by

Check: TypeAlias = Callable[[Any], object]

REQUIRES = "__micropie_requires__"


class Checks:
    """The checks of one handler or application. Hooks of the same application run before them."""

    guards = True
    needs_session = True

    def __init__(self, checks: Iterable[Check]) -> None:
        self._checks = [(kind_of(check), check) for check in checks]

    def before(self, request: Request) -> Flow[object]:
        """Return the answer of the first check that refuses, or None. Raises 403 for a check that returns False."""
        for kind, check in self._checks:
            answer = yield from call(kind, check, request)
            if answer is False:
                raise HTTPError(403)
            if answer is not None and answer is not True:
                return answer
        return None


def with_checks(config: Config, checks: Sequence[Check]) -> Config:
    """Return ``config`` with ``checks`` as its last hook; ``config`` itself if there are none."""
    return replace(config, middlewares=Chain(config.middlewares, [Checks(checks)])) if checks else config


def mark_checks(target: object, checks: Sequence[Check]) -> None:
    """Leave the mark of ``@requires`` on a handler, a class or an application."""
    for check in checks:
        is_generator = inspect.isgeneratorfunction(check) or inspect.isasyncgenfunction(check)
        if not callable(check) or isinstance(check, type) or is_generator:
            raise SetupError(f"requires takes functions of the request, without yield: not {check!r}")
    setattr(target, REQUIRES, [*checks, *_own_checks(target)])


def checks_of(app: object) -> Sequence[Check]:
    """Return the checks of an application: of its class's bases, of its class, of the object itself."""
    return [check for owner in (*reversed(type(app).__mro__), app) for check in _own_checks(owner)]


def checks_of_handler(function: Callable[..., object]) -> Sequence[Check]:
    """Return the checks of a handler. Raises ``SetupError`` if a decorator hides them.

    ``functools.wraps`` copies the mark to the function that it makes. A decorator without it makes one that has the
    handler in a variable, where a mark would be overlooked.
    """
    checks = [check for layer in layers(function) for check in _own_checks(layer)]
    if not checks:
        for inner in wrapped_by(function):
            if _own_checks(inner):
                name = getattr(inner, "__qualname__", "a handler")
                raise SetupError(f"a decorator above @requires hides it from {name}: write @requires above all others")
    return [*dict.fromkeys(checks)]


def _own_checks(target: object) -> Sequence[Check]:
    checks: Sequence[Check] = getattr(target, "__dict__", {}).get(REQUIRES, ())
    return checks
