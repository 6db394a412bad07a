"""What only some systems have: forks, and names of ``os`` and ``signal`` that Windows or macOS
lack.
"""

from __future__ import annotations

import gc
import os
import sys
import textwrap

import pytest

from micropie._core.execution.fork import available_cpus, notify_after_fork
from micropie._core.execution.pool import processes
from micropie._core.execution.pool.processes import Pool
from micropie._core.execution.process_pool import PoolError
from micropie.config import Settings
from tests.support.commands import ended
from tests.support.pooled import call_in

# Without these, as on Windows; asyncio and subprocess are imported first, as their POSIX halves
# need some of them.
ELSEWHERE = """
import asyncio, multiprocessing.connection, os, signal, subprocess, sys, warnings
warnings.simplefilter("error")
for name in (
    "register_at_fork", "sched_getaffinity", "fork", "forkpty", "getuid", "geteuid", "getgid", "getppid",
    "O_NONBLOCK", "O_CLOEXEC", "O_NOFOLLOW", "O_DIRECTORY", "pread", "sendfile", "waitid", "killpg",
):
    delattr(os, name)
for name in ("siginterrupt", "SIGKILL", "SIGHUP", "SIGUSR1", "SIGALRM", "setitimer", "pthread_sigmask"):
    delattr(signal, name)
for name in ("fcntl", "grp", "pwd", "resource", "termios"):
    sys.modules[name] = None
"""

SERVE = """
import micropie, micropie.middleware, micropie.sessions, micropie.testing
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

class Root(micropie.App):
    def plain(self, name):
        return f"plain {name}"

    async def waits(self):
        return "waits"

    def file(self):
        return micropie.static_file("here.txt", Path(sys.argv[1]), cached=True)

    def events(self):
        return micropie.EventStream(["one"])

    async def pooled(self):
        micropie.progress(1)
        return str(await self.pool.run(len, "pie"))

Path(sys.argv[1], "here.txt").write_text("a file")
signal.signal(signal.SIGTERM, lambda *_: None)  # which the lifespan goes in front of
for options in ({"protocol": "wsgi"}, {"backend": "asyncio"}, {"backend": "trio"}):
    app = Root(pool=ThreadPoolExecutor(1))
    with micropie.testing.TestClient(app, **options) as client:
        paths = "/plain/x", "/waits", "/file", "/events", "/pooled"
        answers = [client.get(path).text for path in paths]
        assert answers == ["plain x", "waits", "a file", ": \\n\\ndata: one\\n\\n", "3"], answers
"""


@pytest.mark.processes
def test_the_package_works_on_systems_without_fork(tmp_path: object) -> None:
    code = textwrap.dedent(ELSEWHERE + SERVE)
    result = ended(sys.executable, "-c", code, str(tmp_path))
    assert (result.returncode, result.stderr) == (0, "")


def test_the_number_of_processors_has_a_default(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert available_cpus() == len(os.sched_getaffinity(0))
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 7)
    assert available_cpus() == 7
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert available_cpus() == 1


def test_on_windows_and_in_a_frozen_program_a_process_pool_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(processes, "CAN_START", False)
    with pytest.raises(PoolError, match=r"on Windows and in frozen programs: write App\(pool="):
        call_in(Pool(1, Settings()), 1.0, int)


@pytest.mark.processes
def test_an_object_is_notified_of_forks_while_it_exists() -> None:
    class Owner:
        def __init__(self, number: int) -> None:
            self.number = number

        def after_fork(self) -> None:
            os.write(write, b"%d" % self.number)

    read, write = os.pipe()
    kept, dropped = Owner(1), Owner(2)
    notify_after_fork(kept)
    notify_after_fork(dropped)
    del dropped
    gc.collect()
    child = os.fork()
    if not child:
        os._exit(0)
    os.waitpid(child, 0)
    os.close(write)
    assert os.read(read, 10) == b"1"
    os.close(read)
