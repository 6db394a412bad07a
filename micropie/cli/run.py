"""``micropie run app:app``"""

from __future__ import annotations

from argparse import Namespace
from dataclasses import fields

from micropie.cli.serving.options import Options
from micropie.cli.serving.run import serve
from micropie.cli.target import find_target


def execute(arguments: Namespace) -> int:
    """Serve the application until the process is told to end."""
    options = {field.name: getattr(arguments, field.name) for field in fields(Options)}
    serve(find_target(arguments.target), Options(**options), reload=arguments.reload)
    return 0
