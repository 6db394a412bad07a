"""The command ``python -m micropie_compat bottle -m shop``: call ``install("bottle")``, then run a
program as ``python`` would.
"""

from __future__ import annotations

import runpy
import sys
from functools import partial
from pathlib import Path

from micropie_compat.results import AnyFunction
from micropie_compat.stand_in import FRAMEWORKS, install


def main() -> None:
    """Run a module (``-m shop``) or a file (``shop.py``), and pass the arguments after it to the
    program as ``sys.argv``.
    """
    framework, *rest = sys.argv[1:] or [""]
    is_module = rest[:1] == ["-m"]
    program = rest[1:] if is_module else rest
    if framework not in FRAMEWORKS or not program:
        raise SystemExit(
            f"usage: python -m micropie_compat {{{','.join(FRAMEWORKS)}}} "
            "(-m MODULE | FILE) [ARGUMENT ...]"
        )
    install(framework)
    sys.argv = program
    if not is_module and not sys.flags.safe_path:
        sys.path[0] = str(Path(program[0]).resolve().parent)  # instead of the current directory
    run: AnyFunction = partial(runpy.run_module, alter_sys=True) if is_module else runpy.run_path
    run(program[0], run_name="__main__")


if __name__ == "__main__":
    main()
