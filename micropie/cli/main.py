"""The entry point ``main`` and the argument parsers of all commands."""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from importlib import import_module
from inspect import getdoc
from pathlib import Path
from typing import Any

from micropie import SetupError, __version__
from micropie.cli import command
from micropie.cli.serving.options import DEFAULT_HOST, ServingError
from micropie.cli.serving.reloading import FROM_ENV_FILE
from micropie.cli.target import CommandError, find_target
from micropie.config import read_env_file
from micropie.extensions import Outside

# Each command has a module whose ``execute(arguments)`` returns the exit code.
COMMANDS = ("run", "routes", "check", "new", "shell", "completion")

_YES, _NO = ("1", "true", "yes", "on"), ("0", "false", "no", "off")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code: 0, 1 if it reports errors, 2 if it can't run."""
    try:
        try:
            return _run(sys.argv[1:] if arguments is None else arguments)
        except (CommandError, ServingError, SetupError) as error:
            print(f"micropie: {error}", file=sys.stderr)
            return 2
        finally:
            print(end="", flush=True)  # when Python exits, it is too late to catch an error
    except BrokenPipeError:  # a program that reads the output, such as ``head``, has exited
        # https://docs.python.org/3/library/signal.html#note-on-sigpipe
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _run(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code."""
    _read_env_file()
    before, words = split(arguments)
    if before.app is not None and not words:
        return _list_commands(before)
    if words and words[0] not in COMMANDS and not words[0].startswith("-"):
        return _run_own(before, words)
    parsed, unknown = parsers(before)[""].parse_known_args(words or ["--help"])
    if unknown:
        # Print the usage of the command, because argparse would print the usage of
        # ``micropie``.
        near = get_close_matches(
            unknown[0], re.findall(r"--[\w-]+", parsed.parser.format_usage()), 1
        )
        hint = f"; do you mean {near[0]}?" if near else ""
        parsed.parser.error(f"unrecognized arguments: {' '.join(unknown)}{hint}")
    execute: Callable[[argparse.Namespace], int] = import_module(
        f"micropie.cli.{parsed.command}"
    ).execute
    return execute(parsed)


def _read_env_file() -> None:
    """Add the variables in this folder's ``.env`` to the environment. Variables that are already
    set keep their values.

    Raises ``SetupError`` and ``CommandError`` for a file that can't be read.
    """
    FROM_ENV_FILE.clear()
    for name, value in read_env_file().items():
        if name in os.environ:
            continue
        try:
            os.environ[name] = value
        except ValueError as error:  # the value contains a null character
            raise CommandError(f".env can't be read: {error}") from None
        FROM_ENV_FILE.add(name)


def _from_environment(name: str, default: str | None = None) -> str | None:
    # An empty variable counts as unset, as a container's may be that gets its value from another.
    return os.environ.get(f"MICROPIE_{name}") or default


def _flag(name: str) -> bool:
    text = _from_environment(name) or "0"
    if text.lower() not in (*_YES, *_NO):
        raise CommandError(f"MICROPIE_{name} must be 1 or 0, not {text!r}")
    return text.lower() in _YES


def _number(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a number: correct the option, or its environment variable"
        ) from None


def split(words: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    """Split a command line into the options before the command's name (``app`` and ``factory``),
    and the words from the name on.
    """
    parser = argparse.ArgumentParser("micropie", add_help=False, allow_abbrev=False)
    _add_app(parser)
    parser.add_argument("words", nargs=argparse.REMAINDER)
    before, others = parser.parse_known_args(words)
    return before, [*others, *before.words]


def _add_app(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-a", "--app", help="run a command of this application: -a shop:app init-db"
    )
    _add_factory(parser)


def _list_commands(before: argparse.Namespace) -> int:
    """Print an application's own commands."""
    commands = command.commands_of(Outside(find_target(before.app, before.factory).app))
    width = max(map(len, commands), default=0)
    for name, (function, _) in commands.items():
        summary = (getdoc(function) or "").partition("\n")[0]
        print(f"{name:<{width}}  {summary}".rstrip())
    return 0


def app_name(before: argparse.Namespace) -> str:
    """Return the import name of the application that defines the commands: the value of the option
    ``--app``, of the environment variable ``MICROPIE_APP``, or "app".
    """
    return before.app or _from_environment("APP") or "app"


def _run_own(before: argparse.Namespace, words: Sequence[str]) -> int:
    """Run one of the application's own commands."""
    try:
        target = find_target(app_name(before), before.factory)
    except CommandError as error:
        if before.app is not None or _from_environment("APP") is not None:
            raise
        near = get_close_matches(words[0], COMMANDS, 1)
        hint = f"do you mean {near[0]}?" if near else f"there are: {', '.join(COMMANDS)}."
        own = f"To run a command of an application, write micropie -a shop:app {words[0]}"
        raise CommandError(
            f"there is no command {words[0]!r}; {hint} {own}. No application was loaded: {error}"
        ) from None
    return command.execute(target.app, words[0], words[1:])


def parsers(before: argparse.Namespace) -> Mapping[str, argparse.ArgumentParser]:
    """Return the parsers by command name. The key "" has the parser of the whole command line."""
    parser = argparse.ArgumentParser(
        prog="micropie",
        description="Serve and inspect micropie applications.",
        epilog=(
            'Each option of "micropie run" can also be set by an environment variable, such as '
            "MICROPIE_PORT=8080, or in a .env file."
        ),
    )
    parser.add_argument("--version", action="version", version=f"micropie {__version__}")
    _add_app(parser)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    run = commands.add_parser("run", help="serve an application")
    _add_target(run, before)

    def option(flag: str, default: str | None = None, **more: Any) -> None:
        """Add an option that can also be set by an environment variable."""
        variable = flag.strip("-").replace("-", "_").upper()
        is_flag = more.get("action") == "store_true"
        run.add_argument(
            flag,
            default=_flag(variable) if is_flag else _from_environment(variable, default),
            **more,
        )

    option("--host", help=f"the address to listen on (default: {DEFAULT_HOST})")
    option(
        "--port",
        type=_number,
        help="the port to listen on (default: 8000, or the variable PORT); 0 picks a free one",
    )
    option("--uds", metavar="PATH", help="listen on a UNIX socket instead of a port")
    option("--fd", type=_number, help="listen on an inherited open socket, such as 3 from systemd")
    option(
        "--server",
        help="a server such as uvicorn or hypercorn (default: the best that is installed)",
    )
    loops = ["asyncio", "trio", "uvloop"]
    option("--loop", choices=loops, help="the event loop (default: the server's own)")
    option(
        "--workers",
        type=_number,
        help="the number of processes (default: 1, or the variable WEB_CONCURRENCY)",
    )
    option("--reload", action="store_true", help="restart when a file has changed")
    stand_in = "import micropie's compatibility module in place of the framework named here"
    option("--stand-in", choices=["bottle", "cherrypy"], help=stand_in)
    option("--wsgi", action="store_true", help="serve with WSGI, without WebSockets")
    option("--root-path", "", help="the URL prefix under which a proxy serves the application")
    option("--ssl-certfile", help="the file of the certificate, to serve https")
    option("--ssl-keyfile", help="the file of the certificate's private key")

    routes = commands.add_parser("routes", help="list the public paths and their handlers")
    _add_target(routes, before)
    routes.add_argument("--json", action="store_true", help="write JSON, for other programs")

    check = commands.add_parser("check", help="report errors; exits non-zero if it finds any")
    _add_target(check, before)
    check.add_argument(
        "--from",
        dest="origin",
        choices=["cherrypy", "bottle", "pixie_web", "micropie"],
        help="list the changes needed to migrate the files at APP from the framework named here",
    )

    check.add_argument(
        "--stub",
        type=Path,
        metavar="FILE",
        help="write a module from which editors complete the names of templates and routes",
    )

    new = commands.add_parser("new", help="create a small project")
    new.add_argument("name", help="the folder to create, or `resource`")
    new.add_argument("resource", nargs="?", help="after `resource`: its plural, such as pies")
    kinds = new.add_mutually_exclusive_group()
    kinds.add_argument(
        "--api", action="store_true", help="create a JSON API with OpenAPI documentation"
    )
    kinds.add_argument("--package", action="store_true", help="create a package with settings")

    shell = commands.add_parser(
        "shell", help="open a Python shell with the application and a client"
    )
    _add_target(shell, before)
    completion = commands.add_parser("completion", help="print a script for tab completion")
    completion.add_argument(
        "shell",
        nargs="?",
        choices=["bash", "zsh", "fish"],
        default="bash",
        help="the shell (default: bash)",
    )
    completion.add_argument("--line", help=argparse.SUPPRESS)
    for one in commands.choices.values():
        one.set_defaults(parser=one)
    return {"": parser, **commands.choices}


def _add_target(parser: argparse.ArgumentParser, before: argparse.Namespace) -> None:
    parser.add_argument(
        "target",
        nargs="?",
        default=before.app or _from_environment("APP", "app"),
        metavar="APP",
        help="module:attribute, or a file (default: app)",
    )
    _add_factory(parser, before.factory)


def _add_factory(parser: argparse.ArgumentParser, is_stated: bool = False) -> None:
    parser.add_argument(
        "--factory",
        action="store_true",
        default=is_stated or _flag("FACTORY"),
        help="call APP to create the application (a function without parameters is always called)",
    )
