"""A real redis-server on a free port, in its own directory, for the duration of a `with`."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.harness import Unavailable
from benchmarks.processes import free_port, running


@contextmanager
def redis_server(directory: Path, *, port: int = 0, is_kept: bool = False) -> Iterator[str]:
    """Run it and yield its URL; with ``is_kept`` its data are on the disk and outlive it.

    Raises `Unavailable` if it is not installed or does not start.
    """
    command = shutil.which("redis-server")
    if command is None:
        raise Unavailable("redis-server is not installed; scripts/install-system-packages does it")
    port = port or free_port()
    options = [
        "--port",
        str(port),
        "--bind",
        "127.0.0.1",
        "--dir",
        str(directory),
        "--save",
        "",
        "--appendonly",
        "yes" if is_kept else "no",
    ]
    with running([command, *options], port, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL):
        yield f"redis://127.0.0.1:{port}/0"
