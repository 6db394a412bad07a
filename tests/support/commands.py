"""Processes that a test starts: scripts and commands that serve on a port, or that just end."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from tests.support.environment import import_path
from tests.support.fork_server import OPTIONS, Fork, fork_server
from tests.support.waiting import END_WITHIN, PATIENCE, until

ROOT = Path(__file__).parents[2]


def environment(**changes: str) -> dict[str, str]:
    """The environment of a process that imports this checkout, whatever its folder is."""
    return {**os.environ, **OPTIONS, "PYTHONPATH": import_path(ROOT), **changes}


def ended(
    *command: str | Path,
    folder: Path = ROOT,
    environ: Mapping[str, str] | None = None,
    input: str | None = None,
    check: bool = False,
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end in ``folder``; without ``environ`` it has that of the tests."""
    return subprocess.run(
        command,
        cwd=folder,
        env=environ,
        input=input,
        capture_output=True,
        text=True,
        check=check,
    )


def micropie(
    folder: Path, *arguments: str, environ: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run ``micropie`` with these arguments in ``folder``, to its end."""
    command = (sys.executable, "-m", "micropie", *arguments)
    return ended(*command, folder=folder, environ=environment(**(environ or {})), input="")


class Running:
    """A process that serves; ``output`` is what it has printed so far."""

    def __init__(self, process: Fork, errors: IO[bytes]) -> None:
        self.process = process
        self.output = ""
        self.prefix = ""  # that the server announces, for its proxy
        self._reader = threading.Thread(target=self._read, args=[errors])
        self._reader.start()

    def _read(self, stream: IO[bytes]) -> None:
        with stream:
            for line in stream:
                self.output += line.decode(errors="replace")

    @property
    def url(self) -> str:
        """The URL that it has announced."""
        until(lambda: re.search(r"https?://\S+", self.output) or self.process.poll() is not None)
        found = re.search(r"https?://\S+", self.output)
        assert found is not None, self.output
        return found[0]

    def get(self, path: str = "/") -> str:
        """Return the body at a path, as soon as the server answers."""
        url = self.url.removesuffix(self.prefix) + path
        answers: list[str] = []

        def answered() -> bool:
            try:
                with urllib.request.urlopen(url, timeout=PATIENCE) as answer:
                    answers.append(answer.read().decode())
            except OSError:
                assert self.process.poll() is None, self.output
            return bool(answers)

        until(answered)
        return answers[0]

    def end(self) -> int:
        """Interrupt the process, as Ctrl-C does, and return the exit code."""
        self.process.send_signal(signal.SIGINT)
        code = self.process.wait(END_WITHIN)
        self._reader.join()
        return code


@contextmanager
def serving_command(folder: Path, *command: str, **environ: str) -> Iterator[Running]:
    """Start ``python`` with these arguments, and end it."""
    reader, writer = os.pipe()
    with Path(os.devnull).open("wb") as nothing:
        process = fork_server(measured=True).run(
            command,
            environment(**environ),
            folder=folder,
            output=nothing.fileno(),
            errors=writer,
        )
    os.close(writer)
    running = Running(process, os.fdopen(reader, "rb"))
    try:
        yield running
    finally:
        if process.poll() is None:
            with suppress(ProcessLookupError):  # it ends at this moment
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        running._reader.join()
