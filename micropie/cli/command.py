"""``micropie -a shop:app init-db``: run an application's own command, defined with
``@app.command``.

A command is called like a handler. Its arguments and options come from its signature, and their
values are converted like the values of a query.
"""

from __future__ import annotations

import inspect
import select
import sys
from argparse import (
    SUPPRESS,
    ArgumentError,
    ArgumentParser,
    BooleanOptionalAction,
    Namespace,
    RawDescriptionHelpFormatter,
)
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from inspect import Parameter
from types import NoneType
from typing import Annotated, Any, get_args, get_origin

from micropie import App, BindingError, BindingErrors, HTTPError, Request, SetupError
from micropie.cli.target import CommandError
from micropie.extensions import Inspector, Outside, RouteEntry, TypeInfo

Command = tuple[Callable[..., object], Callable[[], RouteEntry]]

_COLLECTIONS = (list, tuple, set, frozenset, Sequence)


def commands_of(outside: Outside) -> Mapping[str, Command]:
    """Return the commands of an application and of the applications inside it, by name: "init-db",
    "blog.init-db".

    Raises ``CommandError`` if two commands have the same name.
    """
    found: dict[str, Command] = {}
    for name, function, entry in outside.commands():
        if name in found:
            raise CommandError(f"two commands are named {name}: rename one of the functions")
        found[name] = function, entry
    return found


def execute(app: App, name: str, words: Sequence[str]) -> int:
    """Start the application, run the command and stop the application. Return the exit code."""
    outside = Outside(app)
    commands = commands_of(outside)
    if name not in commands:
        near = get_close_matches(name, commands, 1)
        known = (
            f"there are: {', '.join(commands)}"
            if commands
            else "to add one, write @app.command above a function"
        )
        hint = f"do you mean {near[0]}?" if near else known
        raise CommandError(f"{type(app).__name__} has no command {name!r}; {hint}")
    entry = commands[name][1]()
    parser = parser_of(entry)
    query, segments = _values(entry.signature.parameters, parser.parse_args(words))
    try:
        with outside:
            result = outside.call(entry, query, segments)
    except BindingError as error:
        parser.error("; ".join(f"{one.parameter} must be {one.expected}" for one in error.errors))
    except HTTPError as error:
        raise CommandError(str(error)) from None
    except SetupError:
        raise
    except Exception as error:
        if isinstance(error, BrokenPipeError) and _is_output_unread():
            raise
        sys.stderr.write(Inspector.traceback_of(error))
        report = entry.application.settings.on_error
        if report is not None:
            try:
                report(error)
            except Exception as failure:
                sys.stderr.write(f"on_error failed: {Inspector.traceback_of(failure)}")
        return 1
    if result is not None:
        print(result)
    return 0


def _is_output_unread() -> bool:
    """Return whether the program that reads the output, such as ``head``, has exited."""
    try:
        output = select.poll()
        output.register(sys.stdout.fileno(), 0)
    except (AttributeError, OSError):  # Windows has no ``poll``, and other outputs no number
        return False
    return bool(output.poll(0))


def parser_of(entry: RouteEntry) -> ArgumentParser:
    """Return the command-line parser for the parameters of a command, and of the providers that it
    depends on.

    Raises ``CommandError`` for a command that can't be called from the command line.
    """
    route, signature, function = entry.route, entry.signature, entry.route.function
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise CommandError(
            f"{route.name} is a generator, but values that a command yields are discarded: print "
            "them"
        )
    document = route.body_parameter
    if document is not None:
        raise CommandError(
            f"{route.name}: {document.name!r} takes {document.converter.expected}, which a "
            "command line can't pass: declare parameters for plain values, such as path: str"
        )
    parser = ArgumentParser(
        f"micropie -a APP {route.name}",
        description=inspect.getdoc(function),
        argument_default=SUPPRESS,
        formatter_class=RawDescriptionHelpFormatter,
    )
    known: set[str] = set()
    takes_rest = _rest_of(signature.parameters) is not None
    of_providers = (one for provider in signature.needed() for one in provider.parameters)
    for one in (*signature.parameters, *of_providers):
        if one.name not in known and one.kind is not Parameter.VAR_KEYWORD:
            is_positional = one in signature.parameters and one.kind is not Parameter.KEYWORD_ONLY
            try:
                _add(parser, one, is_positional, takes_rest)
            except ArgumentError:
                raise CommandError(
                    f"{route.name}: the option for {one.name!r} exists already, such as --help: "
                    "rename the parameter"
                ) from None
        known.add(one.name)
    return parser


def _rest_of(parameters: Sequence[Parameter]) -> Parameter | None:
    """Return the parameter ``*names`` of a command, or None."""
    return next((one for one in parameters if one.kind is Parameter.VAR_POSITIONAL), None)


def _kind_of(annotation: object) -> tuple[object, bool]:
    """Return X for ``X``, ``X | None`` and ``Annotated[X, ...]``. Also return whether it is a
    collection, which takes several values.
    """
    if get_origin(annotation) is Annotated:
        return _kind_of(get_args(annotation)[0])
    others = [one for one in get_args(annotation) if one is not NoneType]
    if len(others) == 1 and NoneType in get_args(annotation):
        return _kind_of(others[0])
    return annotation, (get_origin(annotation) or annotation) in _COLLECTIONS


def _add(parser: ArgumentParser, one: Parameter, is_positional: bool, takes_rest: bool) -> None:
    """Add an argument or an option for a parameter.

    If the command has ``*names``, all parameters before it become arguments, not options.
    """
    kind, many = _kind_of(one.annotation)
    source, key = TypeInfo(one.annotation).source, one.name
    if kind in (Request, BindingErrors):
        return
    if source is not None:
        if source.place != "query" or TypeInfo(kind).structure is not None:
            return
        key, is_positional = source.name_for(key), False
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
        flag = f"--{one.name.removesuffix('_').replace('_', '-')}"
        parser.add_argument(flag, dest=key, action=action, required=not has_default, help=shown)


def _values(
    parameters: Sequence[Parameter], given: Namespace
) -> tuple[list[tuple[str, str]], list[str]]:
    """Return a command's values as query pairs and path segments. The values of ``*names`` and of
    the parameters before it are segments, all others are pairs.

    Segments are assigned to parameters by position, so the user can't omit a value and give a later
    one.
    """
    values: dict[str, Any] = vars(given)
    rest, segments = _rest_of(parameters), []
    if rest is not None:
        taken = [one.name for one in parameters if one.kind is not Parameter.KEYWORD_ONLY]
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
