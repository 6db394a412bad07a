"""``micropie -a shop:app init-db``: the commands that an application has of its own, below
``@app.command``.

A command is called as a handler is. Its command line is made of its signature, and the values are
converted as those of a query.
"""

from __future__ import annotations

import inspect
import traceback
from argparse import (
    SUPPRESS,
    ArgumentParser,
    BooleanOptionalAction,
    Namespace,
    RawDescriptionHelpFormatter,
)
from collections.abc import Callable, Iterator, Sequence
from difflib import get_close_matches
from inspect import Parameter
from typing import Any

from micropie import App, BindingError, BindingErrors, HTTPError, Request, SetupError
from micropie.binding import stated_source, unwrapped
from micropie.cli.calling import call, request_for, route_for, started
from micropie.cli.target import CommandError
from micropie.execution import INLINE, layers
from micropie.extensions import as_authors_see
from micropie.routing import COMMAND, Config, Route, Site, public_name


def commands_of(site: Site) -> dict[str, tuple[Callable[..., object], Config]]:
    """Return the commands of an application, and of those inside it: "init-db", "blog.init-db".

    Raises ``CommandError`` for two of one name.
    """
    found: dict[str, tuple[Callable[..., object], Config]] = {}
    for config in site.config.tree:
        app = config.app
        own = app._micropie.commands if isinstance(app, App) else ()
        for function in (*_methods(app), *own):
            name = config.scope + public_name(function.__name__).replace("_", "-")
            if name in found:
                raise CommandError(f"two commands are named {name}: rename one of the functions")
            found[name] = function, config
    return found


def _methods(app: object) -> Iterator[Any]:
    names = dict.fromkeys(name for owner in reversed(type(app).__mro__) for name in vars(owner))
    return (
        getattr(app, name)
        for name in names
        if hasattr(inspect.getattr_static(type(app), name), COMMAND)
    )


def summary_of(function: Callable[..., object]) -> str:
    """Return the first line of a function's docstring, or ""."""
    return (inspect.getdoc(function) or "").partition("\n")[0]


def execute(app: App, name: str, words: Sequence[str]) -> int:
    """Start the application, run the command, stop the application. Return the exit code."""
    commands = commands_of(app._micropie.compiled(INLINE))
    if name not in commands:
        near = get_close_matches(name, commands, 1)
        known = (
            f"there are: {', '.join(commands)}"
            if commands
            else "it has none: write @app.command above a function"
        )
        hint = f"do you mean {near[0]}?" if near else known
        raise CommandError(f"{type(app).__name__} has no command {name!r}; {hint}")
    function, config = commands[name]
    route = route_for(function, name, config)
    parser = parser_of(route)
    query, segments = _values(route, parser.parse_args(words))
    try:
        with started(app):
            result = call(route, request_for(route, query), segments)
    except BindingError as error:
        parser.error("; ".join(f"{one.parameter} must be {one.expected}" for one in error.errors))
    except HTTPError as error:
        raise CommandError(str(error)) from None
    except SetupError:
        raise
    except Exception as error:
        traceback.print_exception(*as_authors_see(error))
        return 1
    if result is not None:
        print(result)
    return 0


def parser_of(route: Route) -> ArgumentParser:
    """Return the parser of a command line, made of the parameters of a command and of the providers
    that it needs.

    Raises ``CommandError`` for a command that no command line can call.
    """
    function = route.function
    *_, inner = layers(function)
    if inspect.isgeneratorfunction(inner) or inspect.isasyncgenfunction(inner):
        raise CommandError(f"{route.name} has a yield, and nobody takes its values: print them")
    document = route.body_parameter
    if document is not None:
        raise CommandError(
            f"{route.name}: {document.name!r} takes {document.converter.expected}, which no "
            "command line has: take "
            "each value by a parameter"
        )
    parser = ArgumentParser(
        f"micropie -a APP {route.name}",
        description=inspect.getdoc(function),
        argument_default=SUPPRESS,
        formatter_class=RawDescriptionHelpFormatter,
    )
    known: set[str] = set()
    takes_rest = _rest_of(route) is not None
    for one in (
        *route.plan.parameters,
        *(one for provider in route.providers for one in provider.plan.parameters),
    ):
        if one.name not in known and one.kind is not Parameter.VAR_KEYWORD:
            is_own = one in route.plan.parameters
            _add(parser, one, is_own and one.kind is not Parameter.KEYWORD_ONLY, takes_rest)
        known.add(one.name)
    return parser


def _rest_of(route: Route) -> Parameter | None:
    """Return the parameter ``*names`` of a command, or None."""
    return next(
        (one for one in route.plan.parameters if one.kind is Parameter.VAR_POSITIONAL), None
    )


def _add(parser: ArgumentParser, one: Parameter, is_positional: bool, takes_rest: bool) -> None:
    """Add an argument or an option for a parameter.

    With ``*names`` all before these are arguments as well.
    """
    kind, many, _ = unwrapped(one.annotation)
    if stated_source(one.annotation)[0] is not None or kind in (Request, BindingErrors):
        return
    has_default = one.default is not one.empty
    if one.kind is Parameter.VAR_POSITIONAL:
        parser.add_argument(one.name, nargs="*")
    elif is_positional and (takes_rest or not has_default):
        parser.add_argument(one.name, nargs="?" if has_default else "+" if many else None)
    else:
        action = (
            BooleanOptionalAction if kind is bool and not many else "append" if many else "store"
        )
        shown = (
            f"default: {one.default!r}".replace("%", "%%")
            if one.default not in (one.empty, None)
            else None
        )
        flag = f"--{public_name(one.name).replace('_', '-')}"
        parser.add_argument(
            flag, dest=one.name, action=action, required=not has_default, help=shown
        )


def _values(route: Route, given: Namespace) -> tuple[list[tuple[str, str]], list[str]]:
    """Return a command's values as pairs of a query, and as segments of a path: what ``*names``
    takes, and all before.

    A path has no names, so a default in between can't be left to the function.
    """
    values: dict[str, Any] = vars(given)
    rest, segments = _rest_of(route), []
    if rest is not None:
        taken = [
            one.name for one in route.plan.parameters if one.kind is not Parameter.KEYWORD_ONLY
        ]
        for name in taken:
            value = values.pop(name, [])
            segments += value if isinstance(value, list) else [value]
    pairs = [
        (name, one)
        for name, value in values.items()
        for one in (value if isinstance(value, list) else [value])
    ]
    return [
        (name, str(one).lower() if isinstance(one, bool) else one) for name, one in pairs
    ], segments
