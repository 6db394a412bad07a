"""Servers as forks of one process that has imported what they share.

A server imports micropie, anyio and itself before it imports the application: most of its startup.
Each worker of pytest-xdist starts one ``ForkServer``, which imports them once. The forks get their
own environment, folder, files and session, and then run their command as ``python -m`` does.
"""

from __future__ import annotations

import atexit
import gc
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import warnings
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import IO, NoReturn

from tests.support.environment import unmeasured

ROOT = Path(__file__).parents[2]

# Nothing that opens a file or starts a thread when it is imported, as daphne's reactor does.
IMPORTS = (
    *("micropie", "micropie.app", "micropie.asgi.driver", "micropie.wsgi.driver", "micropie.cli"),
    *("anyio.from_thread", "anyio._backends._asyncio", "jinja2", "pydantic.json_schema"),
    *("uvicorn.main", "uvicorn.protocols.http.httptools_impl", "uvloop", "uvicorn.lifespan.on"),
    *("uvicorn.protocols.websockets.websockets_impl", "hypercorn.__main__", "hypercorn.run"),
    *("gunicorn.app.wsgiapp", "gunicorn.workers.gthread", "gunicorn.asgi.protocol"),
    *("granian.cli", "granian.server", "waitress.runner", "waitress.server"),
    *("twisted.web.http", "twisted.internet.asyncioreactor", "autobahn.twisted.websocket"),
)


class Fork:
    """A process that a ``ForkServer`` has started, with the methods of ``Popen`` that tests use."""

    returncode: int | None = None

    def __init__(self, pid: int, ended: int) -> None:
        self.pid = pid
        self._ended = ended  # a pipe to which the fork server writes the exit code

    def poll(self) -> int | None:
        """Return the exit code, None while the process runs."""
        with suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end and return the exit code."""
        if self.returncode is None:
            if not select.select([self._ended], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(f"fork {self.pid}", timeout or 0)
            code = os.read(self._ended, 16)
            os.close(self._ended)
            assert code, "the fork server has ended"
            self.returncode = int(code)
        return self.returncode

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal to the process, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)


class ForkServer:
    """The process whose forks are servers. Its end, or that of the tests, kills their sessions."""

    def __init__(self) -> None:
        self._connection, other = socket.socketpair()
        with other:
            self._process = subprocess.Popen(
                [sys.executable, "-m", __name__, str(other.fileno())],
                cwd=ROOT,
                env=unmeasured(PYTHONPATH=str(ROOT), PYTHONUNBUFFERED="1", PYTHONFAULTHANDLER="1"),
                stdin=subprocess.DEVNULL,
                pass_fds=[other.fileno()],
                start_new_session=True,
            )

    def run(self, command: Sequence[str], environ: Mapping[str, str], log: IO[bytes]) -> Fork:
        """Run ``python -m`` with this command, environment and log.

        gevent patches modules that nothing has used before, so it gets an interpreter of its own.
        """
        ended, end = os.pipe()
        text = json.dumps([command, dict(environ), "gevent" in command]).encode()
        socket.send_fds(self._connection, [b"%8d" % len(text)], [log.fileno(), end])
        os.close(end)
        self._connection.sendall(text)
        return Fork(int(self._connection.recv(8, socket.MSG_WAITALL)), ended)

    def end(self) -> None:
        """End it and wait for that."""
        self._connection.close()
        self._process.wait()


@cache
def fork_server() -> ForkServer:
    """Return the fork server of this process, which starts with the first request for it."""
    server = ForkServer()
    atexit.register(server.end)
    return server


# -- in the fork server ----------------------------------------------------------------------------


def serve(connection: socket.socket) -> None:
    """Start forks and report their ends, until the tests close the connection."""
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    ends: dict[int, int] = {}
    while True:
        ready = select.select([connection.fileno(), woken], [], [])[0]
        if woken in ready:
            os.read(woken, 1024)
            _report(ends)
        if connection.fileno() in ready:
            length, files, _, _ = socket.recv_fds(connection, 8, 2)
            if not length:
                break
            text = connection.recv(int(length), socket.MSG_WAITALL)
            log, end = files
            process = os.fork()
            if process == 0:
                for number in (woken, wake, end, connection.fileno(), *ends.values()):
                    os.close(number)
                connection.detach()
                _become(log, *json.loads(text))
            os.close(log)
            ends[process] = end
            connection.sendall(b"%8d" % process)
    for process in ends:
        with suppress(ProcessLookupError):
            os.killpg(process, signal.SIGKILL)


def _report(ends: dict[int, int]) -> None:
    """Write the exit codes of forks that have ended."""
    with suppress(ChildProcessError):
        while (ended := os.waitpid(-1, os.WNOHANG))[0]:
            pipe = ends.pop(ended[0])
            with suppress(BrokenPipeError):
                os.write(pipe, b"%d" % os.waitstatus_to_exitcode(ended[1]))
            os.close(pipe)


def _become(
    log: int, command: Sequence[str], environ: Mapping[str, str], starts_anew: bool
) -> NoReturn:
    """Be the process that runs a command."""
    os.setsid()
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)
    if starts_anew:
        os.execve(sys.executable, [sys.executable, "-m", *command], environ)
    os.environ.clear()
    os.environ.update(environ)
    sys.argv[:] = command
    runpy.run_module(command[0], run_name="__main__", alter_sys=True)
    sys.exit()


def main() -> None:
    for name in IMPORTS:
        with suppress(ImportError), warnings.catch_warnings(action="ignore"):
            import_module(name)
    gc.freeze()
    serve(socket.socket(fileno=int(sys.argv[1])))


if __name__ == "__main__":
    main()
