"""Interpreters that serve, as forks of one that has imported what they share.

A server imports micropie, anyio and itself before it imports the application: most of its startup.
Each worker of pytest-xdist starts one ``ForkServer``, which imports them once. The forks get their
own environment, folder, files and session, and then run a module or a script as ``python`` does.
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
from multiprocessing import process
from pathlib import Path
from typing import NoReturn

from tests.support.environment import import_path, unmeasured
from tests.support.started.sitecustomize import VARIABLE

ROOT = Path(__file__).parents[2]

# Of the interpreters.
OPTIONS = {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", "PYTHONFAULTHANDLER": "1"}

# Nothing that opens a file, starts a thread or reads the environment when it is imported, as
# daphne's reactor and gunicorn's configuration do.
IMPORTS = (
    *("micropie", "micropie.app", "micropie.asgi.driver", "micropie.wsgi.driver", "micropie.cli"),
    *("anyio.from_thread", "anyio._backends._asyncio", "jinja2", "pydantic.json_schema"),
    *("uvicorn.main", "uvicorn.protocols.http.httptools_impl", "uvloop", "uvicorn.lifespan.on"),
    *("uvicorn.protocols.websockets.websockets_impl", "hypercorn.__main__", "hypercorn.run"),
    *("granian.cli", "granian.server", "waitress.runner", "waitress.server"),
    *("twisted.web.http", "twisted.internet.asyncioreactor", "autobahn.twisted.websocket"),
)

# Applications and micropie look for these among the imported modules.
SERVERS = {"daphne", "granian", "gunicorn", "hypercorn", "uvicorn", "waitress"}


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
        """Send a signal to the process, unless it has ended. The fork server may know of the end
        before ``poll`` does.
        """
        if self.poll() is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)


class ForkServer:
    """The process whose forks are servers. Its end, or that of the tests, kills their sessions."""

    def __init__(self, marks: Mapping[str, str]) -> None:
        self._connection, other = socket.socketpair()
        with other:
            self._process = subprocess.Popen(
                [sys.executable, "-m", __name__, str(other.fileno())],
                cwd=ROOT,
                env=unmeasured(**{**OPTIONS, "PYTHONPATH": import_path(ROOT)}, **marks),
                stdin=subprocess.DEVNULL,
                pass_fds=[other.fileno()],
                start_new_session=True,
            )

    def run(
        self,
        arguments: Sequence[str],
        environ: Mapping[str, str],
        *,
        folder: Path,
        output: int,
        errors: int,
    ) -> Fork:
        """Run ``python`` with these arguments in ``folder``.

        Without the fork, if the interpreter would not be alike: for code in the arguments, for
        gevent, which patches modules that nothing has used before, and for other options.
        """
        ended, end = os.pipe()
        text = json.dumps([arguments, dict(environ), str(folder)]).encode()
        socket.send_fds(self._connection, [b"%8d" % len(text)], [output, errors, end])
        os.close(end)
        self._connection.sendall(text)
        return Fork(int(self._connection.recv(8, socket.MSG_WAITALL)), ended)

    def end(self) -> None:
        """End it and wait for that."""
        self._connection.close()
        self._process.wait()


@cache
def _fork_server(marks: str | None) -> ForkServer:
    server = ForkServer({VARIABLE: marks} if marks else {})
    atexit.register(server.end)
    return server


def fork_server(*, measured: bool = False) -> ForkServer:
    """Return the fork server of this process, whose forks mark what they reach if it is
    ``measured``. It starts with the first request for it.
    """
    return _fork_server(os.environ.get(VARIABLE) if measured else None)


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
            length, files, _, _ = socket.recv_fds(connection, 8, 3)
            if not length:
                break
            text = connection.recv(int(length), socket.MSG_WAITALL)
            output, errors, end = files
            pid = os.fork()
            if pid == 0:
                for number in (woken, wake, end, connection.detach(), *ends.values()):
                    os.close(number)
                _become(output, errors, *json.loads(text))
            os.close(output)
            os.close(errors)
            ends[pid] = end
            connection.sendall(b"%8d" % pid)
    for pid in ends:
        with suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)


def _report(ends: dict[int, int]) -> None:
    """Write the exit codes of forks that have ended."""
    with suppress(ChildProcessError):
        while (ended := os.waitpid(-1, os.WNOHANG))[0]:
            pipe = ends.pop(ended[0])
            with suppress(BrokenPipeError):
                os.write(pipe, b"%d" % os.waitstatus_to_exitcode(ended[1]))
            os.close(pipe)


def _become(
    output: int, errors: int, arguments: list[str], environ: dict[str, str], folder: str
) -> NoReturn:
    """Be the interpreter with these arguments."""
    os.setsid()
    os.chdir(folder)
    os.dup2(output, 1)
    os.dup2(errors, 2)
    os.close(output)
    os.close(errors)
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    command = [sys.executable, *arguments]
    if arguments[0] == "-c" or "gevent" in arguments or _options(environ) != _options(os.environ):
        os.execve(sys.executable, command, environ)
    kept = {name.rpartition(".")[2] for name in arguments[1:2]}
    before, after = (each["PYTHONPATH"].split(os.pathsep) for each in (os.environ, environ))
    sys.path[: 1 + len(before)] = [folder, *after]
    for name in [*sys.modules]:
        if name.partition(".")[0] in SERVERS - kept:
            del sys.modules[name]
    vars(process)["ORIGINAL_DIR"] = folder
    sys.orig_argv[:] = command
    os.environ.clear()
    os.environ.update(environ)
    if arguments[0] == "-m":
        sys.argv[:] = arguments[1:]
        runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv[:] = arguments
        runpy.run_path(f"{folder}/{arguments[0]}", run_name="__main__")
    sys.exit()


def _options(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that an interpreter and its measurement read at its startup."""
    return {
        name: value
        for name, value in environ.items()
        if (name.startswith("PYTHON") and name != "PYTHONPATH")
        or name in (VARIABLE, "COVERAGE_PROCESS_CONFIG")
    }


def main() -> None:
    for name in IMPORTS:
        with suppress(ImportError), warnings.catch_warnings(action="ignore"):
            import_module(name)
    gc.freeze()
    serve(socket.socket(fileno=int(sys.argv[1])))


if __name__ == "__main__":
    main()
