"""The arguments of every command, and the message of one that fails."""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path

import micropie
from micropie.cli.serving.options import DEFAULT_HOST, DEFAULT_PORT, ServingError
from micropie.cli.target import CommandError
from micropie.errors import SetupError

# Each command's module, in which ``execute(arguments)`` returns the exit code.
COMMANDS = ("run", "routes", "check", "new", "shell")

_YES, _NO = ("1", "true", "yes", "on"), ("0", "false", "no", "off")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code: 0, 1 if it found mistakes, 2 if it can't do its work."""
    try:
        _read_env_file()
        parsed, unknown = _parser().parse_known_args(arguments)
        if unknown:  # argparse would show the usage of micropie, and not that of the command
            near = get_close_matches(unknown[0], re.findall(r"--[\w-]+", parsed.parser.format_usage()), 1)
            hint = f"; do you mean {near[0]}?" if near else ""
            parsed.parser.error(f"unrecognized arguments: {' '.join(unknown)}{hint}")
        execute: Callable[[argparse.Namespace], int] = import_module(f"micropie.cli.{parsed.command}").execute
        return execute(parsed)
    except (CommandError, ServingError, SetupError) as error:
        print(f"micropie: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # the reader of our output, such as head, has enough
        sys.stderr.close()
        return 1


def _read_env_file() -> None:
    """Add the variables of ``.env``, in this folder, to the environment; those that are set already stay.

    Raises ``CommandError`` for a file that can't be read.
    """
    if not Path(".env").is_file():
        return
    try:
        dotenv = import_module("dotenv")
    except ModuleNotFoundError:
        print("micropie: .env is not read: pip install python-dotenv", file=sys.stderr)
        return
    try:
        dotenv.load_dotenv(".env")
    except (OSError, ValueError) as error:  # not UTF-8, or with a NUL
        raise CommandError(f".env can't be read: {error}") from None


def _from_environment(name: str, default: str | None = None) -> str | None:
    return os.environ.get(f"MICROPIE_{name}", default)


def _flag(name: str) -> bool:
    text = _from_environment(name) or "0"
    if text.lower() not in (*_YES, *_NO):
        raise CommandError(f"MICROPIE_{name} is 1 or 0, not {text!r}")
    return text.lower() in _YES


def _number(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no number (given here, or by its MICROPIE_ variable)") from None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="micropie",
        description="Serve and inspect micropie applications.",
        epilog="Each option of run can also be an environment variable: MICROPIE_PORT=8080, also in a file .env.",
    )
    parser.add_argument("--version", action="version", version=f"micropie {micropie.__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    run = commands.add_parser("run", help="serve an application")
    _add_target(run)
    run.add_argument("--host", default=_from_environment("HOST", DEFAULT_HOST), help=f"the address ({DEFAULT_HOST})")
    run.add_argument(
        "--port", type=_number, default=_from_environment("PORT", str(DEFAULT_PORT)), help="8000; 0: a free one"
    )
    run.add_argument(
        "--server", default=_from_environment("SERVER"), help="uvicorn, hypercorn, ... (the best installed)"
    )
    run.add_argument("--loop", choices=["asyncio", "trio", "uvloop"], default=_from_environment("LOOP"))
    run.add_argument("--workers", type=_number, default=_from_environment("WORKERS", "1"), help="processes (1)")
    run.add_argument(
        "--reload", action="store_true", default=_flag("RELOAD"), help="start anew when a file has changed"
    )
    run.add_argument(
        "--stand-in",
        choices=["bottle", "cherrypy"],
        default=_from_environment("STAND_IN"),
        help="have every import of this framework give its stand-in (micropie.compat)",
    )
    run.add_argument("--wsgi", action="store_true", default=_flag("WSGI"), help="serve by WSGI, without WebSockets")
    run.add_argument("--root-path", default=_from_environment("ROOT_PATH", ""), help="the prefix behind a proxy")
    run.add_argument("--ssl-certfile", default=_from_environment("SSL_CERTFILE"))
    run.add_argument("--ssl-keyfile", default=_from_environment("SSL_KEYFILE"))

    routes = commands.add_parser("routes", help="list what is public")
    _add_target(routes)
    routes.add_argument("--json", action="store_true", help="for programs")

    check = commands.add_parser("check", help="find mistakes; the exit code is for CI")
    _add_target(check)
    check.add_argument(
        "--from", dest="origin", choices=["cherrypy", "bottle"], help="read a source tree that moves here"
    )

    new = commands.add_parser("new", help="make a small project")
    new.add_argument("name", help="the folder to make")

    shell = commands.add_parser("shell", help="Python with the application and a client")
    _add_target(shell)
    for command in commands.choices.values():
        command.set_defaults(parser=command)
    return parser


def _add_target(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "target",
        nargs="?",
        default=_from_environment("APP", "app"),
        metavar="APP",
        help="module:attribute, or a file (app)",
    )
    parser.add_argument(
        "--factory",
        action="store_true",
        default=_flag("FACTORY"),
        help="APP is called to make the application, as a function without parameters is anyway",
    )
