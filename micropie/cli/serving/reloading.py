"""Run this command in a child process, and restart it when a Python file has changed.

This works the same for every server.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Collection, Iterator
from contextlib import suppress
from pathlib import Path

from micropie.cli.serving.options import Options

# The environment variable that passes the port to the child process, so that the port stays the
# same after a restart. ``App`` reads it too: if it is set, the application runs in development.
CHILD_PORT = "MICROPIE_CHILD_PORT"

# The variables that the command has read from ``.env``. A child process reads the file again,
# because it may have changed.
FROM_ENV_FILE: set[str] = set()

# Seconds between checks of the files. Checking a thousand files takes 5 ms.
LOOK_EVERY = 0.3

# How many seconds to wait at most for the child's shutdown.
END_WITHIN = 5.0

_SKIPPED = {"__pycache__", "node_modules", "site-packages"}


def run_and_reload(options: Options) -> None:
    """Run ``sys.orig_argv`` in child processes until this process is interrupted or terminated."""
    environ = {name: value for name, value in os.environ.items() if name not in FROM_ENV_FILE}
    environ[CHILD_PORT] = str(options.port)
    passed = [] if options.fd is None else [options.fd]
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # raises KeyboardInterrupt on SIGTERM
    folder = Path.cwd()
    known = _times(folder)
    with suppress(KeyboardInterrupt):
        while True:
            child = subprocess.Popen(sys.orig_argv, env=environ, pass_fds=passed)
            try:
                while (found := _times(folder)) == known:
                    time.sleep(LOOK_EVERY)
                changed = sorted({path for path, _ in found.items() ^ known.items()})
                print(
                    f"{os.path.relpath(changed[0], folder)} has changed: restarting",
                    file=sys.stderr,
                    flush=True,
                )
                known = found
            finally:
                _end(child)


def _end(child: subprocess.Popen[bytes]) -> None:
    child.terminate()
    try:
        child.wait(END_WITHIN)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


def is_own(folder: Path, skipped: Collection[str]) -> bool:
    """Return whether a folder inside a project may contain files of the project itself.

    ``skipped``: the names of folders that don't.
    """
    return not (
        folder.name in skipped
        or folder.name.startswith(".")
        # a virtual environment, whatever its name; ``Path.exists`` would raise an error for a
        # folder that this user may not enter
        or os.access(folder / "pyvenv.cfg", os.F_OK)
    )


def files_under(
    folder: Path, skipped: Collection[str], endings: str | tuple[str, ...] = ""
) -> Iterator[Path]:
    """Yield the files under ``folder`` whose names have one of these ``endings``, in order, except
    those in hidden folders, in virtual environments, and in folders whose names are in ``skipped``.
    """
    for path, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if is_own(Path(path, name), skipped))
        yield from (Path(path, name) for name in sorted(names) if name.endswith(endings))


def _times(folder: Path) -> dict[str, int]:
    """Return the modification time of each Python file under ``folder``, and of each ``.env``."""
    times = {}
    for file in files_under(folder, _SKIPPED, (".py", ".env")):
        with suppress(OSError):  # an editor has just removed the file
            times[str(file)] = file.stat().st_mtime_ns
    return times
