"""What coverage is told does not depend on the order of the tests (tests/support/measuring.py)."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import micropie_compat
from micropie_compat.carrier import _status_of
from micropie_compat.cherrypy.lib import static
from tests.support import marks
from tests.support.measuring import clears_of
from tests.support.started.sitecustomize import PACKAGES


def test_functions_with_cached_results_are_found() -> None:
    for cached in (static._types, _status_of):
        assert cached.cache_clear in clears_of("micropie_compat")
    _status_of("200 OK")
    for clear in clears_of("micropie_compat"):
        clear()
    assert _status_of.cache_info().currsize == 0


def test_the_measured_folders_are_those_of_the_packages() -> None:
    found = [find_spec(name) for name in PACKAGES]
    assert [spec and spec.origin for spec in found] == [
        str(folder / "__init__.py") for folder in marks.FOLDERS
    ]
    assert Path(micropie_compat.__file__).parent in marks.FOLDERS
