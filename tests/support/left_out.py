"""Libraries that have no build for this Python: a test that lacks one is skipped.

For a free-threaded Python, the table is in tests/support/free-threaded.toml, by which ``make``
installs. For any other Python, these are the libraries that pyproject.toml leaves out by a marker.
A missing library that is in neither place fails the tests that need it.
"""

from __future__ import annotations

import re
import sysconfig
import tomllib
from collections.abc import Iterable, Sequence
from importlib.util import find_spec
from itertools import chain
from pathlib import Path

from packaging.requirements import Requirement

_TABLE = Path(__file__).with_name("free-threaded.toml")
_PROJECT = Path(__file__).parents[2] / "pyproject.toml"


IS_FREE_THREADED = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))


def _left_out() -> Sequence[str]:
    names = without_release(tomllib.loads(_PROJECT.read_text())["dependency-groups"]["dev"])
    if IS_FREE_THREADED:
        names += chain.from_iterable(tomllib.loads(_TABLE.read_text())["left-out"].values())
    return [name for name in names if find_spec(name) is None]


def without_release(requirements: Iterable[object]) -> list[str]:
    """Return the names of the requirements whose marker excludes this Python or system."""
    found = (Requirement(one) for one in requirements if isinstance(one, str))
    return [one.name for one in found if one.marker and not one.marker.evaluate()]


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
