"""Libraries that have no build for a free-threaded Python: a test that lacks one is skipped there.

The table is in tests/support/free-threaded.toml, by which ``make`` installs. On any other
Python it counts for nothing: a library that is missing there fails the tests that need it.
"""

from __future__ import annotations

import re
import sysconfig
import tomllib
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

_TABLE = Path(__file__).with_name("free-threaded.toml")


IS_FREE_THREADED = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))


def _left_out() -> Sequence[str]:
    if not IS_FREE_THREADED:
        return ()
    modules = tomllib.loads(_TABLE.read_text())["left-out"].values()
    return [name for names in modules for name in names if find_spec(name) is None]


LEFT_OUT = _left_out()


def lacking(told: str, left_out: Sequence[str] = LEFT_OUT) -> str | None:
    """Return which of the modules ``left_out`` is asked for by what a failed test has told: it
    could not be imported, or micropie's sentence or SQLAlchemy's says to install it.
    """
    for name in left_out:
        if re.search(
            rf"No module named \\?'?{name}\b|install {name},|\b{name} is not installed"
            rf"|'{name}' library is installed",
            told,
        ):
            return name
    return None
