"""``python -m micropie.compat bottle -m shop``: run a program as ``python`` does, with the
compatibility module for its framework.
"""

from __future__ import annotations

import runpy
import sys
from collections.abc import Callable
from functools import partial

from micropie.compat.stand_in import FRAMEWORKS, install


def main() -> None:
    """Run a module (``-m shop``) or a file (``shop.py``) with what follows as its arguments."""
    framework, *rest = sys.argv[1:] or [""]
    is_module = rest[:1] == ["-m"]
    program = rest[1:] if is_module else rest
    if framework not in FRAMEWORKS or not program:
        raise SystemExit(
            f"usage: python -m micropie.compat {{{','.join(FRAMEWORKS)}}} "
            "-m MODULE | FILE [ARGUMENT ...]"
        )
    install(framework)
    sys.argv = program
    run: Callable[..., object] = (
        partial(runpy.run_module, alter_sys=True) if is_module else runpy.run_path
    )
    run(program[0], run_name="__main__")


if __name__ == "__main__":
    main()
