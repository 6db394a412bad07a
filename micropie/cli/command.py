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
from typing import Any

from micropie import App, BindingError, HTTPError, SetupError
from micropie.cli.target import CommandError
from micropie.extensions import Inspector, Outside, RouteEntry

Command = tuple[Callable[..., object], Callable[[], RouteEntry]]


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
    takes_rest = _takes_rest(signature.parameters)
    for part in (signature, *signature.needed()):
        for one in part.parameters:
            if one.kind is Parameter.VAR_POSITIONAL:
                parser.add_argument(one.name, nargs="*")
            elif one.name not in known and one.kind is not Parameter.VAR_KEYWORD:
                is_positional = part is signature and one.kind is not Parameter.KEYWORD_ONLY
                try:
                    _add(parser, one, part.values[one.name], is_positional, takes_rest)
                except ArgumentError:
                    raise CommandError(
                        f"{route.name}: the option for {one.name!r} exists already, such as "
                        "--help: rename the parameter"
                    ) from None
            known.add(one.name)
    return parser


def _takes_rest(parameters: Sequence[Parameter]) -> bool:
    """Return whether a command has a parameter ``*names``."""
    return any(one.kind is Parameter.VAR_POSITIONAL for one in parameters)


def _add(
    parser: ArgumentParser, one: Parameter, where: Any, is_positional: bool, takes_rest: bool
) -> None:
    """Add an argument or an option for a parameter whose value may come from a query. ``where``:
    see ``Signature.values``.

    If the command has ``*names``, all parameters before it become arguments, not options.
    """
    if where.first_place != "query" or where.is_whole:
        return
    has_default, many = one.default is not one.empty, where.converter.many is not None
    if is_positional and not where.is_stated and (takes_rest or not has_default):
        parser.add_argument(one.name, nargs="?" if has_default else "+" if many else None)
    else:
        is_flag = where.converter.schema == {"type": "boolean"}
        action = BooleanOptionalAction if is_flag else "append" if many else "store"
        shown = (
            f"default: {one.default!r}".replace("%", "%%")
            if one.default not in (one.empty, None)
            else None
        )
        flag = f"--{one.name.removesuffix('_').replace('_', '-')}"
        parser.add_argument(
            flag, dest=where.key, action=action, required=not has_default, help=shown
        )


def _values(
    parameters: Sequence[Parameter], given: Namespace
) -> tuple[list[tuple[str, str]], list[str]]:
    """Return a command's values as query pairs and path segments. The values of ``*names`` and of
    the parameters before it are segments, all others are pairs.

    Segments are assigned to parameters by position, so the user can't omit a value and give a later
    one.
    """
    values: dict[str, Any] = vars(given)
    taken = [one.name for one in parameters if one.kind is not Parameter.KEYWORD_ONLY]
    segments = []
    for name in taken if _takes_rest(parameters) else ():
        value = values.pop(name, [])
        segments += value if isinstance(value, list) else [value]
    pairs = [
        (name, str(one).lower() if isinstance(one, bool) else one)
        for name, value in values.items()
        for one in (value if isinstance(value, list) else [value])
    ]
    return pairs, segments
