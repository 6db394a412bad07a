"""The environment of processes that tests start."""

from __future__ import annotations

import os


def unmeasured(**changes: str) -> dict[str, str]:
    """Return this environment without what has coverage measure a process, which takes as long again as the process.

    For processes whose lines of ``micropie`` other tests cover.
    """
    own = {key: value for key, value in os.environ.items() if not key.startswith(("COVERAGE_", "COV_"))}
    return {**own, **changes}


# Arguments of pytest for tests that are not of this project, and don't need plugins that take a second to import.
ALONE = [
    "-c",
    os.devnull,
    "--rootdir=.",
    "-p",
    "no:cacheprovider",
    "-p",
    "no:schemathesis",
    "-p",
    "no:hypothesispytest",
]
