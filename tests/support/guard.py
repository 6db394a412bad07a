"""A guard for the processes that tests start: they end with the tests, also when these are
killed.
"""

from __future__ import annotations

import subprocess


def guard_of(process: subprocess.Popen[bytes]) -> subprocess.Popen[bytes]:
    """Start a shell that kills the process's group when its pipe closes, also if the tests
    themselves are killed.
    """
    return subprocess.Popen(
        ["sh", "-c", f"read -r _; kill -KILL -{process.pid}"],
        stdin=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
