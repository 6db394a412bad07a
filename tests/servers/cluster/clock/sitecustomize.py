"""Python imports this module at its start, where its directory is on the path: it moves the clock
of the time of day.

The file that ``CLOCK_OFFSET`` names has the seconds. A time namespace has no time of day of its
own, and libfaketime has sleeping threads fail with EINVAL when it moves the clock.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

_file = Path(os.environ["CLOCK_OFFSET"])
_real = time.time


def _moved() -> float:
    return _real() + float(_file.read_text())


time.time = _moved
time.time_ns = lambda: int(_moved() * 1e9)
