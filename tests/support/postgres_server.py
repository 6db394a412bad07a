"""A PostgreSQL server as a context manager."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from tests.support.guard import guard_of
from tests.support.redis_server import missing_program
from tests.support.waiting import PATIENCE

ROOT = Path(__file__).parents[2]
# No file is synced, because a test's data need not survive the machine.
_SETTINGS = {
    "autovacuum": "off",
    "fsync": "off",
    "listen_addresses": "",
    "logging_collector": "off",
    "max_connections": "60",
    "shared_buffers": "16MB",
}


class PostgresServer:
    """A server in a folder of its own, which can be stopped, started again, and made to hang.

    ``url`` is that of its database. Without a ``port`` of TCP, nothing listens but a socket in the
    folder.
    """

    def __init__(self, folder: Path, programs: Path, port: int | None = None) -> None:
        self._folder, self._programs, self._port = folder, programs, port
        self.url = f"postgresql://postgres@/postgres?host={folder}"
        if port is not None:
            self.url = f"postgresql://postgres@127.0.0.1:{port}/postgres"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> str:
        """What the server has said so far."""
        return (self._folder / "log").read_text()

    def create(self) -> None:
        """Make the server's files: those of an earlier one, as ``initdb`` takes a second of a
        processor to make the same.
        """
        data = self._folder / "data"
        kept = ROOT / "build" / f"postgres-{self._programs.parent.name}-{os.geteuid()}.tar"
        if not kept.exists():
            command = [
                str(self._programs / "initdb"),
                f"--pgdata={data}",
                "--username=postgres",
                "--auth=trust",
                "--encoding=UTF8",
                "--locale=C",
                "--no-sync",
            ]
            subprocess.run(
                command, check=True, cwd=self._folder, stdout=subprocess.DEVNULL, **_another_user()
            )
            kept.parent.mkdir(exist_ok=True)
            new = kept.with_suffix(f".{os.getpid()}")
            subprocess.run(["tar", "-cf", new, "data"], check=True, cwd=self._folder)
            new.replace(kept)
        else:
            subprocess.run(["tar", "-xf", kept], check=True, cwd=self._folder)  # with its owner

    def start(self) -> None:
        """Start the server, and wait until it takes connections."""
        settings = {**_SETTINGS, "unix_socket_directories": str(self._folder)}
        if self._port is not None:
            settings |= {"listen_addresses": "127.0.0.1", "port": str(self._port)}
        command = [str(self._programs / "postgres"), "-D", str(self._folder / "data")]
        command += [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                command,
                cwd=self._folder,
                stdout=log,
                stderr=log,
                start_new_session=True,
                **_another_user(),
            )
        self._guard = guard_of(self._process)
        ready = [
            str(self._programs / "pg_isready"),
            "-q",
            "-U",
            "postgres",
            "-h",
            str(self._folder),
            *(() if self._port is None else ("-p", str(self._port))),
        ]
        deadline = time.monotonic() + PATIENCE
        while subprocess.run(ready, check=False).returncode != 0:
            assert self._process.poll() is None, self.log
            assert time.monotonic() < deadline, self.log
            time.sleep(0.02)

    def stop(self) -> None:
        """End the server and its connections. Does nothing if it was stopped."""
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)  # a "fast shutdown"
            self._process.wait(PATIENCE)
            self._process = None
            self._guard.kill()
            self._guard.communicate()

    @contextmanager
    def hanging(self) -> Iterator[None]:
        """Stop the server's processes, as a stuck disk does."""
        assert self._process is not None
        server = self._process.pid
        os.kill(server, signal.SIGSTOP)  # the first, so that it starts no others
        children = Path(f"/proc/{server}/task/{server}/children").read_text().split()
        processes = [server, *map(int, children)]
        for process in processes:
            os.kill(process, signal.SIGSTOP)
        try:
            yield
        finally:
            for process in reversed(processes):
                with suppress(ProcessLookupError):
                    os.kill(process, signal.SIGCONT)


@contextmanager
def postgres_server(port: int | None = None) -> Iterator[PostgresServer]:
    """Run a server and yield it; ``port`` is one of TCP that it listens on.

    Where it is not installed the test is skipped, and fails if ``CI`` is "true".
    """
    programs = _programs()
    # not in pytest's folder: another user may not enter that, and its path is too long for a socket
    folder = Path(tempfile.mkdtemp(prefix="postgres-"))
    try:
        if user := _another_user():
            shutil.chown(folder, user["user"], user["group"])
        server = PostgresServer(folder, programs, port)
        server.create()
        try:
            server.start()
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder)


def _programs() -> Path:
    """Return the folder of the newest server; Debian has it nowhere in ``PATH``."""
    if command := shutil.which("initdb"):
        return Path(command).resolve().parent
    found = sorted(
        Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3])
    )
    return found[-1].parent if found else missing_program("postgresql")


def _another_user() -> dict[str, Any]:
    """Return the arguments of ``Popen`` for a user that the server accepts: root is none."""
    if os.geteuid() != 0:
        return {}
    user = pwd.getpwnam("postgres")  # Debian's package makes it
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
