"""``micropie run app:app``: serve an application."""

from __future__ import annotations

import os
import sys
from argparse import Namespace
from dataclasses import fields, replace
from difflib import get_close_matches

from micropie.cli.serving import made
from micropie.cli.serving.options import Options, ServingError, Target
from micropie.cli.serving.reloading import CHILD_PORT
from micropie.cli.serving.run import serve
from micropie.cli.target import CodeError, find_program, find_target


def execute(arguments: Namespace) -> int:
    """Serve the application until the process is stopped."""
    _take_from_platform(arguments)
    names = [field.name for field in fields(Options)]
    stated = {name: value for name in names if (value := getattr(arguments, name)) is not None}
    _warn_of_typos([*names, "app", "reload", "stand_in", "stand_in_for", "factory", "made_by"])
    if arguments.stand_in is None:
        try:
            target = find_target(arguments.target, arguments.factory)
        except CodeError:
            if not arguments.reload or CHILD_PORT in os.environ:
                raise
            target = Target(None, None)  # a child process reports the error
    else:
        made.install_stand_in(arguments.stand_in)
        target, program = find_program(arguments.stand_in, arguments.target, arguments.factory)
        if arguments.uds is None and arguments.fd is None:
            for name in ("host", "port"):
                value = getattr(program, name)
                if name not in stated and value is not None:
                    stated[name] = value
    if target.made_as is not None or arguments.stand_in is not None:
        target = replace(target, imported_as=made.name_for_processes(target, arguments.stand_in))
    serve(target, Options(**stated), reload=arguments.reload)
    return 0


def _take_from_platform(arguments: Namespace) -> None:
    """Take the port and the number of workers from the environment variables that hosting platforms
    set. An option that is given takes precedence. Print the variables used.
    """
    taken = {"port": "PORT", "workers": "WEB_CONCURRENCY"}
    if arguments.uds is not None or arguments.fd is not None:
        del taken["port"]
    if arguments.reload:  # one worker is enough for development
        del taken["workers"]
    lines = []
    for option, variable in taken.items():
        text = os.environ.get(variable)
        if text and getattr(arguments, option) is None:
            if not text.isdecimal():
                raise ServingError(f"{variable} must be a number, not {text!r}: it sets --{option}")
            setattr(arguments, option, int(text))
            lines.append(f"--{option} {text} from {variable}")
    if lines and CHILD_PORT not in os.environ:
        print(f"micropie: {', '.join(lines)}", file=sys.stderr)


def _warn_of_typos(options: list[str]) -> None:
    """Print a warning for each ``MICROPIE_`` variable whose name is similar to an option's.

    All other ``MICROPIE_`` variables may belong to the application.
    """
    names = [name.upper() for name in options]
    for variable in sorted(os.environ):
        name = variable.removeprefix("MICROPIE_")
        if (
            name != variable
            and name not in names
            and (near := get_close_matches(name, names, 1, cutoff=0.7))
        ):
            print(
                f"micropie: {variable} is not read; do you mean MICROPIE_{near[0]}?",
                file=sys.stderr,
            )
