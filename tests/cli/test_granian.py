"""Another thread than the one that waits for granian's event sets it, under ``micropie run`` and in
the tests. Only the last test starts workers.
"""

from __future__ import annotations

import multiprocessing
import re
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import granian
import pytest
from granian import cli

from micropie import App
from micropie.cli.serving import signals
from micropie.cli.serving.options import Options, Target
from micropie.cli.serving.reloading import CHILD_PORT, END_WITHIN
from micropie.cli.serving.servers import choose
from micropie.cli.serving.signals import handled_in_a_thread
from tests.servers.harness import KINDS
from tests.support import granian as command
from tests.support.commands import serving_command
from tests.support.ports import free_port
from tests.support.waiting import PATIENCE, until

ROOT = Path(__file__).parents[2]
GRANIAN: Any = granian.Granian
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class NoWorkersError(Exception):
    """Ends granian's startup before it starts a worker."""


class Observed(threading.Event):
    """An event that knows which threads have set it."""

    def __init__(self) -> None:
        super().__init__()
        self.setters: list[threading.Thread] = []

    def set(self) -> None:
        self.setters.append(threading.current_thread())
        super().set()


@pytest.fixture
def servers(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """Return a list of the granians that were started. Each installs its handlers, gets each
    signal, and starts no worker.
    """
    started: list[Any] = []
    startup = GRANIAN.startup

    def start(server: Any, *arguments: object) -> None:
        def deliver() -> None:
            for number in SIGNALS:
                event.clear()
                signal.raise_signal(number)
                assert event.wait(PATIENCE)
            raise NoWorkersError

        started.append(server)
        event = server.main_loop_interrupt = Observed()
        server.on_startup(deliver)
        startup(server, *arguments)

    monkeypatch.setattr(GRANIAN, "startup", start)
    monkeypatch.setattr(cli, "Server", GRANIAN)
    handlers = [signal.getsignal(number) for number in SIGNALS]
    method = multiprocessing.get_start_method(allow_none=True)
    yield started
    multiprocessing.set_start_method(method, force=True)
    for number, handler in zip(SIGNALS, handlers, strict=True):
        signal.signal(number, handler)


def run(interface: str) -> None:
    """As ``micropie run`` does."""
    options = Options(server="granian", port=free_port(), wsgi=interface == "wsgi")
    choose(options).start(Target(App(), "app:app"), options)


def run_command(interface: str) -> None:
    """As the tests do."""
    name = f"granian-{interface}"
    module, *arguments = KINDS[name].command.format(port=free_port(), workers=1).split()
    assert module == command.__name__
    with pytest.MonkeyPatch.context() as changed:
        changed.setattr(sys, "argv", [module, *arguments, "app:app"])
        command.main()


@pytest.mark.processes
@pytest.mark.parametrize("interface", ["asgi", "wsgi"])
@pytest.mark.parametrize("start", [run, run_command])
def test_without_a_signal_granian_s_event_is_set_by_the_waiting_thread(
    start: Callable[[str], None], interface: str, servers: list[Any]
) -> None:
    with pytest.raises(NoWorkersError):
        start(interface)
    (server,) = servers
    setters = server.main_loop_interrupt.setters
    assert len(setters) == len(SIGNALS)
    assert threading.main_thread() not in setters
    assert (server.interrupt_signal, server.reload_signal) == (True, True)
    setters[0].join(PATIENCE)
    assert not setters[0].is_alive()


# What starts granian's command: ``granian --port``, ``["granian", "app:app"]``, ``-m granian``.
PLAIN = re.compile(
    r"""(?<![\w./-])(?<!--server", ")granian["']?,?\s+["']?(?:--?\w|[\w.]+:\w)|-m["']?,?\s+["']?granian\b"""
)
NOT_STARTED = {
    "tests/cli/test_commands.py": "a Dockerfile that is only read",
    "tests/cli/test_granian.py": "this file",
    "tests/project/deploy/DEPLOY.md": "commands of the pages, for their users",
}


def test_no_test_starts_plain_granian() -> None:
    plain = {
        str(file.relative_to(ROOT))
        for folder in ("tests", "scripts", "examples", ".ci")
        for file in (ROOT / folder).rglob("*")
        if file.is_file()
        and file.suffix != ".pyc"
        and PLAIN.search(file.read_bytes().decode(errors="replace"))
    }
    assert plain == set(NOT_STARTED)
    assert all(kind.command.split()[0] != "granian" for kind in KINDS.values())


def test_a_signal_is_handled_while_the_main_thread_waits() -> None:
    """Another thread gets it, so nothing interrupts the wait. So it is with a signal that comes just
    before the main thread begins to wait.
    """
    stopped, before = threading.Event(), signal.getsignal(signal.SIGTERM)
    server = SimpleNamespace(
        signal_handler_interrupt=stopped.set,
        signal_handler_reload=stopped.clear,
        interface="asgi",
    )
    try:
        with handled_in_a_thread(server):
            signal.signal(signal.SIGTERM, server.signal_handler_interrupt)
            other = threading.Thread(
                target=lambda: signal.pthread_kill(threading.get_ident(), signal.SIGTERM)
            )
            other.start()
            assert stopped.wait(PATIENCE)
            other.join()
    finally:
        signal.signal(signal.SIGTERM, before)


class Worker:
    """A worker that ends when it gets its signal, unless it has ``ended`` before."""

    def __init__(self, is_told: bool) -> None:
        self.interrupt_by_parent, self.told = is_told, 0
        self.ended = threading.Event()

    def is_alive(self) -> bool:
        return not self.ended.is_set()

    def terminate(self) -> None:
        self.told += 1
        self.ended.set()


def test_a_worker_that_has_missed_its_signal_gets_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signals, "AGAIN_AFTER", 0.001)
    deaf, others = Worker(is_told=True), [Worker(is_told=False), Worker(is_told=True)]
    others[1].ended.set()
    server = SimpleNamespace(
        signal_handler_interrupt=lambda: None,
        signal_handler_reload=lambda: None,
        interface="wsgi",
        wrks=[*others, deaf],
    )
    before = signal.getsignal(signal.SIGTERM)
    try:
        with handled_in_a_thread(server):
            signal.signal(signal.SIGTERM, server.signal_handler_interrupt)
            signal.raise_signal(signal.SIGTERM)
            assert deaf.ended.wait(PATIENCE)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert [worker.told for worker in server.wrks] == [0, 0, 1]


def test_a_signal_that_granian_does_not_handle_is_left_alone() -> None:
    called: list[str] = []
    server = SimpleNamespace(
        signal_handler_interrupt=lambda: called.append("stop"),
        signal_handler_reload=lambda: called.append("reload"),
        interface="asgi",
    )
    try:
        with handled_in_a_thread(server):
            signal.signal(signal.SIGUSR1, lambda *_: None)
            signal.signal(signal.SIGUSR2, server.signal_handler_reload)
            signal.raise_signal(signal.SIGUSR1)
            signal.raise_signal(signal.SIGUSR2)
            until(lambda: called == ["reload"])
    finally:
        signal.signal(signal.SIGUSR1, signal.SIG_DFL)
        signal.signal(signal.SIGUSR2, signal.SIG_DFL)


@pytest.mark.processes
def test_workers_end_in_time(servers: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Silent clients lose their HTTP/2 connections before the worker is killed, so its shutdown
    handlers run. The killed process of ``--reload`` would leave a worker behind.
    """
    with pytest.raises(NoWorkersError):
        run("asgi")
    monkeypatch.setenv(CHILD_PORT, "8000")
    with pytest.raises(NoWorkersError):
        run("asgi")
    server, reloaded = servers
    silent = server.http2_settings.keep_alive_interval / 1000
    silent += server.http2_settings.keep_alive_timeout
    assert silent < server.workers_kill_timeout == 30
    assert 0 < reloaded.workers_kill_timeout < END_WITHIN


VERSION = """
import multiprocessing
from micropie import App

class Root(App):
    def index(self):
        return f"{}: {{multiprocessing.get_start_method(allow_none=True)}}"

app = Root()
"""


@pytest.mark.processes
@pytest.mark.parametrize("interface", ["asgi", "wsgi"])
def test_a_reload_imports_the_new_version(interface: str, tmp_path: Path) -> None:
    """Workers are spawned, and their own processes start as everywhere else."""
    (tmp_path / "app.py").write_text(VERSION.format("old"))
    options = [*["--wsgi"] * (interface == "wsgi"), "--port", str(free_port())]
    with serving_command(
        tmp_path, "-m", "micropie", "run", "--server", "granian", *options
    ) as server:
        assert server.get() == "old: None"
        (tmp_path / "app.py").write_text(VERSION.format("newer"))
        server.process.send_signal(signal.SIGHUP)
        until(lambda: server.get() == "newer: None")
