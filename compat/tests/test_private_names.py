"""No underscore name of another package is read, set or overridden (tests/project/test_private_names.py)."""

from __future__ import annotations

from pathlib import Path

import micropie
import micropie_compat
from tests.project.test_private_names import all_findings, names_of_bases, no_tree_is_kept

PACKAGE = Path(micropie_compat.__file__).parent

# The fixture of both.
__all__ = ["no_tree_is_kept"]

# Each is to go, or says why it stays.
KNOWN = {
    # Marks that CherryPy's tools set on its requests and on log handlers, and that a moved program
    # may look at.
    "cherrypy/lib/caching.py": [
        "looks up '_cache_event'",
        "uses serving.request._cache_event",
    ],
    "cherrypy/lib/jsontools.py": [
        "uses request._json_inner_handler",
        "uses serving.request._json_inner_handler",
    ],
    "cherrypy/lib/sessions.py": [
        "looks up '_session_init_flag'",
        "looks up '_sessionsaved'",
        "uses request._session_init_flag",
        "uses request._sessionsaved",
    ],
    "cherrypy/log.py": ["looks up '_cpbuiltin'", "uses handler._cpbuiltin"],
    # The checks in the original frameworks' classes, which a migrated application must not use.
    "originals.py": ["sets __init__"],
    # The import system's public names, of a module of ours that has a second name.
    "stand_in.py": ["sets __loader__", "sets __spec__"],
}


def test_no_private_name_of_another_package_is_used() -> None:
    assert all_findings(PACKAGE, Path(micropie.__file__).parent) == KNOWN


def test_no_private_name_of_a_base_of_another_package_is_overridden_or_used() -> None:
    assert names_of_bases(PACKAGE) == {}
