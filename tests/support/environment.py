"""The environment of processes that tests start."""

from __future__ import annotations

import os
from pathlib import Path

STARTED = str(Path(__file__).parent / "started")


def import_path(*folders: Path | str) -> str:
    """Return the PYTHONPATH of a process that imports from these folders, and is measured as others
    are.
    """
    return os.pathsep.join([*map(str, folders), STARTED])


def unmeasured(**changes: str) -> dict[str, str]:
    """Return this environment without what has coverage measure a process, which takes as long
    again as the process.

    For processes whose lines of ``micropie`` other tests cover.
    """
    own = {
        key: value for key, value in os.environ.items() if not key.startswith(("COVERAGE_", "COV_"))
    }
    return {**own, **changes}


# Plugins of pytest that tests don't need which are not of this project. To import them takes half a
# second, hypothesis's and schemathesis's a second more.
NEEDLESS = (
    "hypothesispytest",
    "platformdirs",
    "pytest_cov",
    "randomly",
    "schemathesis",
    "timeout",
    "xdist",
    "xdist.looponfail",
)
WITHOUT_PLUGINS = [option for name in NEEDLESS for option in ("-p", f"no:{name}")]

# Arguments of pytest for tests that are not of this project.
ALONE = ["-c", os.devnull, "--rootdir=.", "-p", "no:cacheprovider", *WITHOUT_PLUGINS]
