"""What all contenders share: a directory of static files, templates, and a log that nobody
reads.
"""

from __future__ import annotations

import atexit
import logging
import os
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

from benchmarks.cases import FILE_CONTENT, ROWS

TEMPLATES = Path(__file__).parent / "templates"
LOGGER = logging.getLogger("benchmarks.access")
# of the contenders that write it themselves
LINE = "client=%s method=%s path=%s status=%d duration_ms=%.3f"
TABLE_ROWS: list[dict[str, Any]] = [*ROWS]


@cache
def static_directory() -> Path:
    """Make a directory with the file of the cases. It ends with the process."""
    directory = tempfile.TemporaryDirectory()
    atexit.register(directory.cleanup)
    path = Path(directory.name)
    (path / "pie.txt").write_bytes(FILE_CONTENT)
    return path


@cache
def open_log() -> None:
    """Send the lines of the access log to /dev/null."""
    target = Path(os.devnull).open("w")  # noqa: SIM115 - it ends with the process
    atexit.register(target.close)
    handler = logging.StreamHandler(target)
    handler.setFormatter(logging.Formatter("%(message)s"))
    LOGGER.addHandler(handler)
    LOGGER.setLevel(logging.INFO)
    LOGGER.propagate = False
