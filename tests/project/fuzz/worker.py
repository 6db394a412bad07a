"""One target of a module in one process: ``python -m tests.project.fuzz.worker MODULE TARGET [options
of libFuzzer] [folders]``.
"""

from __future__ import annotations

import logging
import os
import sys
import traceback
import warnings
from importlib import import_module

import atheris


def main() -> None:
    atheris.enabled_hooks.add("str")  # not "RegEx", which fails on expressions of bytes
    with atheris.instrument_imports(include=["micropie", "micropie_compat"]):
        targets = import_module(sys.argv.pop(1)).TARGETS
    logging.getLogger("micropie").setLevel(logging.CRITICAL)
    warnings.simplefilter("error")
    warnings.simplefilter("ignore", FutureWarning)  # of an author's expression in a route
    target = targets[sys.argv.pop(1)]
    # One exchange before the first input: what is compiled and cached is no coverage of an input's.
    target(b"")

    def run(data: bytes) -> None:
        try:
            target(data)
        except BaseException:
            # Atheris would leave the process in the usual way, which may wait for threads, and lose
            # the input.
            traceback.print_exc()
            os.abort()

    atheris.Setup(sys.argv, run)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
