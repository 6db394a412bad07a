"""The bus and its plugins, beside the original's."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar, NamedTuple

import pytest
from cherrypy.process import plugins as original_plugins
from cherrypy.process import wspbus as original_bus

from micropie_compat.cherrypy.process import plugins, wspbus
from micropie_compat.cherrypy.process.servers import ServerAdapter
from tests.support.waiting import PATIENCE, until


class Process(NamedTuple):
    """The two modules of one side."""

    wspbus: Any
    plugins: Any


@pytest.fixture(params=["original", "ours"])
def process(request: pytest.FixtureRequest) -> Process:
    """The package: the original, then ours."""
    return Process(original_bus, original_plugins) if request.param == "original" else OURS


OURS = Process(wspbus, plugins)


@pytest.fixture
def bus(process: Process, own_threads: None) -> Iterator[Any]:
    bus = process.wspbus.Bus()
    yield bus
    bus.state = process.wspbus.states.EXITING  # so that it does not exit at the end of the tests


@pytest.fixture
def our_bus(own_threads: None) -> Iterator[wspbus.Bus]:
    bus = wspbus.Bus()
    yield bus
    bus.state = wspbus.states.EXITING


def logged(bus: Any) -> list[str]:
    lines: list[str] = []
    bus.subscribe("log", lambda message, level: lines.append(message))
    return lines


# -- channels --------------------------------------------------------------------------------------


def test_subscribers_are_called_in_the_order_of_their_priorities(bus: Any) -> None:
    def second(value: int) -> str:
        return f"second {value}"

    def first(value: int) -> str:
        return f"first {value}"

    first.priority = 10  # type: ignore[attr-defined]
    bus.subscribe("mine", second)
    bus.subscribe("mine", first)

    @bus.subscribe("mine", priority=90)
    def last(value: int) -> str:
        return f"last {value}"

    assert bus.publish("mine", 1) == ["first 1", "second 1", "last 1"]
    bus.unsubscribe("mine", second)
    bus.unsubscribe("mine", second)
    assert bus.publish("mine", value=2) == ["first 2", "last 2"]
    assert bus.publish("unknown") == []


def test_all_subscribers_are_called_when_one_fails(process: Process, bus: Any) -> None:
    lines, called = logged(bus), []

    def fail() -> None:
        raise LookupError("first")

    bus.subscribe("mine", fail, 10)
    bus.subscribe("mine", lambda: called.append(1), 20)
    with pytest.raises(process.wspbus.ChannelFailures, match="LookupError") as raised:
        bus.publish("mine")
    assert called == [1]
    assert bool(raised.value)
    assert [type(error) for error in raised.value.get_instances()] == [LookupError]
    assert repr(raised.value) == str(raised.value) == "LookupError('first')"
    assert "mine" in lines[0]
    assert "LookupError: first" in lines[0]


def test_a_failing_logger_is_not_logged(process: Process, bus: Any) -> None:
    def fail(message: str, level: int) -> None:
        raise OSError("full")

    bus.subscribe("log", fail)
    with pytest.raises(process.wspbus.ChannelFailures):
        bus.log("x")


def test_exits_are_not_swallowed_by_the_bus(process: Process, bus: Any) -> None:
    def fail() -> None:
        raise LookupError

    def interrupt() -> None:
        raise KeyboardInterrupt

    def leave() -> None:
        raise SystemExit

    bus.subscribe("mine", interrupt)
    with pytest.raises(KeyboardInterrupt):
        bus.publish("mine")
    bus.unsubscribe("mine", interrupt)
    bus.subscribe("mine", leave)
    with pytest.raises(SystemExit) as raised:
        bus.publish("mine")
    assert not raised.value.code
    bus.subscribe("mine", fail, 10)
    with pytest.raises(SystemExit) as raised:
        bus.publish("mine")
    assert raised.value.code or process.wspbus is original_bus  # there None is a success


def test_channel_failures_without_an_exception_are_empty() -> None:
    failures = wspbus.ChannelFailures()
    failures.handle_exception()
    assert not failures
    assert isinstance(failures, Exception)


# -- states ----------------------------------------------------------------------------------------


def test_a_bus_passes_through_its_states(process: Process, bus: Any) -> None:
    states, seen = process.wspbus.states, []
    assert bus.state is states.STOPPED
    for channel in ("start", "stop", "exit", "graceful"):
        bus.subscribe(channel, lambda channel=channel: seen.append((channel, str(bus.state))))
    lines = logged(bus)
    bus.start()
    bus.graceful()
    bus.stop()
    assert bus.state is states.STOPPED
    bus.start()
    bus.exit()
    assert seen == [
        ("start", "states.STARTING"),
        ("graceful", "states.STARTED"),
        ("stop", "states.STOPPING"),
        ("start", "states.STARTING"),
        ("stop", "states.STOPPING"),
        ("exit", "states.EXITING"),
    ]
    assert lines[:2] == ["Bus STARTING", "Bus STARTED"]
    assert lines[-1] == "Bus EXITED"
    bus.block()


def test_a_failing_start_subscriber_stops_the_bus(process: Process, bus: Any) -> None:
    ended: list[str] = []

    def fail() -> None:
        raise OSError("no port")

    bus.subscribe("start", fail)
    bus.subscribe("stop", lambda: ended.append("stop"))
    bus.subscribe("exit", lambda: ended.append("exit"))
    if process is not OURS:  # there that ends the process
        return
    with pytest.raises(wspbus.ChannelFailures, match="no port"):
        bus.start()
    assert ended == ["stop", "exit"]
    assert bus.state is wspbus.states.EXITING


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_an_interrupted_start_stops_the_bus(bus: Any, error: type[BaseException]) -> None:
    def fail() -> None:
        raise error

    bus.subscribe("start", fail)
    with pytest.raises(error):
        bus.start()
    bus.stop()


def test_waiting_for_a_state_publishes(process: Process, bus: Any) -> None:
    seen: list[int] = []

    def count() -> None:
        seen.append(1)
        if len(seen) == 2:
            bus.exit()

    bus.subscribe("main", count)
    bus.start()
    bus.block(interval=0.001)
    assert len(seen) == 2
    bus.wait([process.wspbus.states.EXITING, process.wspbus.states.STARTED])


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError, SystemExit])
def test_block_ends_on_keyboard_interrupt(our_bus: wspbus.Bus, error: type[BaseException]) -> None:
    def interrupt() -> None:
        raise error

    our_bus.start()
    our_bus.wait = lambda *_: interrupt()  # type: ignore[method-assign]
    if error is SystemExit:
        with pytest.raises(SystemExit):
            our_bus.block()
    else:
        our_bus.block()
    assert our_bus.state is wspbus.states.EXITING


def test_block_waits_for_threads(bus: Any) -> None:
    go_on = threading.Event()
    worker = threading.Thread(target=go_on.wait, name="a worker")
    worker.start()
    lines = logged(bus)
    bus.subscribe("log", lambda message, level: go_on.set() if "a worker" in message else None)
    bus.start()
    bus.exit()
    bus.block()
    assert not worker.is_alive()
    assert any("a worker" in line for line in lines)


def test_a_callback_runs_after_the_bus_has_started(process: Process, bus: Any) -> None:
    called: list[Any] = []
    thread = bus.start_with_callback(
        lambda *args, **kwargs: called.append((args, kwargs, bus.state)), (1,), {"a": 2}
    )
    thread.join(PATIENCE)
    assert called == [((1,), {"a": 2}, process.wspbus.states.STARTED)]
    bus.exit()


def test_a_failure_at_the_exit_of_a_hosted_process_is_raised(our_bus: wspbus.Bus) -> None:
    def fail() -> None:
        raise LookupError

    our_bus.subscribe("exit", fail)
    our_bus.follow_start("app")
    assert our_bus.is_hosted
    with pytest.raises(wspbus.ChannelFailures):
        our_bus.follow_stop("app")
    our_bus.follow_stop("app")


def test_an_external_server_starts_and_stops_with_the_bus(our_bus: wspbus.Bus) -> None:
    seen: list[str] = []
    for channel in ("start", "stop", "exit"):
        our_bus.subscribe(channel, lambda channel=channel: seen.append(channel))
    our_bus.follow_start("app")
    our_bus.follow_start("app")
    with pytest.raises(RuntimeError, match="gunicorn"):
        our_bus.restart()
    our_bus.follow_stop("app")
    our_bus.follow_stop("app")
    assert seen == ["start", "stop", "exit"]


def test_a_program_that_started_the_bus_itself_is_not_stopped(our_bus: wspbus.Bus) -> None:
    our_bus.start()
    our_bus.follow_start("app")
    our_bus.follow_stop("app")
    assert our_bus.state is wspbus.states.STARTED
    our_bus.exit()
    our_bus.serves_itself = True
    our_bus.follow_start("app")
    assert our_bus.state is wspbus.states.EXITING


def test_an_exit_while_a_hosted_process_starts_is_honoured(our_bus: wspbus.Bus) -> None:
    our_bus.subscribe("start", our_bus.exit)
    our_bus.follow_start("app")
    assert our_bus.state is wspbus.states.STARTED


def test_applications_of_several_servers_keep_the_bus_started(our_bus: wspbus.Bus) -> None:
    our_bus.start()
    our_bus.follow_start("of the program")
    our_bus.exit()
    our_bus.follow_start("first")
    our_bus.follow_start("second")
    for other in ("of the program", "first", "first"):
        our_bus.follow_stop(other)
    assert (our_bus.state, our_bus.is_hosted) == (wspbus.states.STARTED, True)
    our_bus.follow_stop("second")
    assert (our_bus.state, our_bus.is_hosted) == (wspbus.states.EXITING, False)


def test_the_bus_starts_again_after_a_start_that_failed(our_bus: wspbus.Bus) -> None:
    reasons = [LookupError("no database yet")]

    def start() -> None:
        if reasons:
            raise reasons.pop()

    our_bus.subscribe("start", start)
    with pytest.raises(wspbus.ChannelFailures, match="no database yet"):
        our_bus.follow_start("app")
    our_bus.follow_stop("app")
    assert not our_bus.is_hosted
    our_bus.follow_start("app")
    assert our_bus.state is wspbus.states.STARTED


class Asked:
    """Records in ``event`` that a thread other than the first one asks for a lock."""

    def __init__(self, lock: Any) -> None:
        self.lock, self.first, self.event = lock, threading.get_ident(), threading.Event()

    def __enter__(self) -> None:
        if threading.get_ident() != self.first:
            self.event.set()
        self.lock.acquire()

    def __exit__(self, *error: object) -> None:
        self.lock.release()


def test_an_application_starts_the_bus_when_that_of_another_has_exited(our_bus: wspbus.Bus) -> None:
    """Whichever thread comes second: it must find a bus that has started or has exited."""
    our_bus._following = asked = Asked(our_bus._following)  # type: ignore[assignment]
    seen: list[tuple[str, bool]] = []
    for channel in ("start", "stop", "exit"):
        our_bus.subscribe(
            channel, lambda channel=channel: seen.append((channel, our_bus.is_hosted))
        )
    other = threading.Thread(target=our_bus.follow_start, args=("second",))

    def start_another() -> None:
        other.start()
        assert asked.event.wait(PATIENCE)

    our_bus.follow_start("first")
    our_bus.subscribe("stop", start_another, 1)
    our_bus.follow_stop("first")
    other.join(PATIENCE)
    assert seen == [("start", True), ("stop", True), ("exit", True), ("start", True)]
    assert (our_bus.state, our_bus.is_hosted) == (wspbus.states.STARTED, True)


def test_a_start_listener_may_start_an_application_in_another_thread(our_bus: wspbus.Bus) -> None:
    def serve() -> None:
        our_bus.follow_start("inner")
        served.append(our_bus.state)

    served: list[wspbus.State] = []
    other = threading.Thread(target=serve)

    def start_and_wait() -> None:
        other.start()
        other.join(PATIENCE)

    our_bus.subscribe("start", start_and_wait)
    our_bus.follow_start("outer")
    assert served == [wspbus.states.STARTING]
    our_bus.follow_stop("outer")
    assert our_bus.state is wspbus.states.STARTED
    our_bus.follow_stop("inner")
    assert our_bus.state is wspbus.states.EXITING


def test_an_external_server_starts_no_other_server_of_the_program(our_bus: wspbus.Bus) -> None:
    """Each worker would take the same address. In CherryPy it doesn't start the bus."""
    opened: list[str] = []
    server = SimpleNamespace(ready=False, start=lambda: opened.append("start"))
    ServerAdapter(our_bus, server, ("127.0.0.1", 8081)).subscribe()
    our_bus.follow_start("app")
    assert our_bus.state is wspbus.states.STARTED
    our_bus.follow_stop("app")
    assert opened == []


# -- programs --------------------------------------------------------------------------------------

BUS = """
import os, signal, sys, threading
from micropie_compat.cherrypy.process import plugins, wspbus

bus = wspbus.Bus()
bus.subscribe("log", lambda message, level: print(message, flush=True))
"""


def run(
    tmp_path: Path, script: str, *arguments: str, **options: Any
) -> subprocess.CompletedProcess[str]:
    path = tmp_path / "program.py"
    path.write_text(BUS + script)
    command = [sys.executable, str(path), *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=PATIENCE, check=False, **options
    )


@pytest.mark.processes
def test_a_program_that_forgets_to_exit_is_ended(tmp_path: Path) -> None:
    done = run(
        tmp_path, "bus.subscribe('stop', lambda: print('stopped'))\nbus.start()\nbus.start()"
    )
    assert done.stdout.endswith("Bus EXITED\n")
    assert done.stdout.count("stopped") == 1
    assert done.returncode == 0


@pytest.mark.processes
@pytest.mark.parametrize("channel", ["start", "exit"])
def test_a_program_that_cannot_exit_cleanly_is_ended(tmp_path: Path, channel: str) -> None:
    listener = {"start": "bus.exit", "exit": "lambda: 1 / 0"}[channel]
    done = run(
        tmp_path,
        f"bus.subscribe({channel!r}, {listener})\nbus.start()\nbus.exit()\nprint('not reached')",
    )
    assert done.returncode == 70
    assert "not reached" not in done.stdout


@pytest.mark.processes
def test_a_restart_runs_the_program_again(tmp_path: Path) -> None:
    script = """
again = os.path.exists("marker")
open("marker", "w").close()
print("arguments", sys.argv[1:], "again" if again else "first", flush=True)
os.mkdir("elsewhere") if not again else None
os.chdir("elsewhere")
bus.start()
if not again:
    threading.Thread(target=bus.restart).start()
    bus.block()
"""
    done = run(tmp_path, script, "--one", "two words", cwd=tmp_path)
    assert done.stdout.count("arguments ['--one', 'two words']") == 2
    assert "again" in done.stdout
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.processes
def test_signals_are_handled_by_the_bus(tmp_path: Path) -> None:
    script = """
before = signal.getsignal(signal.SIGTERM)
handler = plugins.SignalHandler(bus)
bus.subscribe("graceful", lambda: print("graceful"))
handler.subscribe()
bus.start()
signal.raise_signal(signal.SIGUSR1)
signal.raise_signal(signal.SIGTERM)
bus.block()
handler.unsubscribe()
print(signal.getsignal(signal.SIGTERM) == before)
"""
    done = run(tmp_path, script, stdin=subprocess.DEVNULL)
    assert done.returncode == 0
    assert (
        "Caught signal SIGUSR1.\nBus graceful\ngraceful\nCaught signal SIGTERM.\nBus STOPPING"
        in done.stdout
    )
    assert done.stdout.endswith("True\n")


@pytest.mark.processes
@pytest.mark.parametrize("is_daemon", [True, False])
def test_sighup_restarts_a_daemon_only(tmp_path: Path, is_daemon: bool) -> None:
    script = f"""
if os.path.exists("marker"):
    sys.exit("again")
open("marker", "w").close()
handler = plugins.SignalHandler(bus)
if {is_daemon} and (child := os.fork()):
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
handler.subscribe()
bus.start()
signal.raise_signal(signal.SIGHUP)
bus.block()
"""
    done = run(tmp_path, script, stdin=subprocess.DEVNULL, cwd=tmp_path)
    assert (done.stderr, done.returncode) == (("again\n", 1) if is_daemon else ("", 0))
    words = "while daemonized. Restarting" if is_daemon else "but not daemonized. Exiting"
    assert f"SIGHUP caught {words}.\n" in done.stdout


@pytest.mark.parametrize(("has_terminal", "state"), [(False, "STARTED"), (True, "EXITING")])
def test_sighup_exits_a_process_with_a_terminal(
    process: Process,
    bus: Any,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    has_terminal: bool,
    state: str,
) -> None:
    handler = process.plugins.SignalHandler(bus)
    monkeypatch.setattr(bus, "restart", bus.start)
    with (tmp_path / "input").open("w") as opened:
        monkeypatch.setattr("sys.stdin", opened)
        monkeypatch.setattr("os.isatty", lambda descriptor: has_terminal)
        monkeypatch.setattr("os.getpid", lambda: 1)
        handler.handle_SIGHUP()
    assert bus.state is getattr(process.wspbus.states, state)


def test_signals_can_be_given_by_name_and_number(our_bus: wspbus.Bus) -> None:
    handler = plugins.SignalHandler(our_bus)
    seen: list[int] = []
    handler.set_handler("SIGUSR2", lambda: seen.append(1))
    signal.raise_signal(signal.SIGUSR2)
    handler.set_handler(signal.SIGUSR2.value, lambda: seen.append(2))
    signal.raise_signal(signal.SIGUSR2)
    assert (seen[0], sorted(seen[1:])) == (1, [1, 2])
    handler.unsubscribe()
    assert signal.getsignal(signal.SIGUSR2) is signal.SIG_DFL
    for name in ("SIGNONE", 4711):
        with pytest.raises(ValueError, match="No such signal"):
            handler.set_handler(name)
    handler.handlers = {"SIGNONE": our_bus.exit}
    handler.subscribe()


def test_a_program_may_serve_in_a_thread(process: Process, bus: Any) -> None:
    """As ``quickstart`` does there: without signals, and it doesn't wait for the main thread."""
    handler = process.plugins.SignalHandler(bus)
    before = signal.getsignal(signal.SIGUSR2)
    handler.set_handler("SIGUSR2", bus.graceful)
    ended: list[str] = []

    def serve() -> None:
        handler.unsubscribe()
        handler.subscribe()
        bus.start()
        bus.block()
        ended.append("block")

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    bus.wait(process.wspbus.states.STARTED)
    bus.exit()
    thread.join(PATIENCE)
    signal.signal(signal.SIGUSR2, before)
    assert ended == ["block"]


def test_a_signal_is_published_on_the_channel_with_its_name(process: Process, bus: Any) -> None:
    handler = process.plugins.SignalHandler(bus)
    seen: list[int] = []
    handler.set_handler("SIGUSR2")
    bus.subscribe("SIGUSR2", lambda: seen.append(1))
    signal.raise_signal(signal.SIGUSR2)
    assert seen == [1]
    handler.set_handler("SIGUSR2", lambda: seen.append(2))
    signal.raise_signal(signal.SIGUSR2)
    assert sorted(seen) == [1, 1, 2]
    signal.signal(signal.SIGUSR2, signal.SIG_DFL)


# -- plugins ---------------------------------------------------------------------------------------


def test_a_plugin_subscribes_its_methods(process: Process, bus: Any) -> None:
    class Plugin(process.plugins.SimplePlugin):  # type: ignore[name-defined]
        seen: ClassVar[list[str]] = []

        def start(self) -> None:
            self.seen.append("start")

        def mine(self, text: str) -> None:
            self.seen.append(text)

    plugin = Plugin(bus)
    bus.listeners["mine"] = set()
    plugin.subscribe()
    bus.start()
    bus.publish("mine", "hello")
    plugin.unsubscribe()
    bus.publish("mine", "unheard")
    bus.exit()
    assert plugin.seen == ["start", "hello"]


def test_a_background_task_runs_until_it_is_cancelled(process: Process, bus: Any) -> None:
    ran = threading.Event()
    task = process.plugins.BackgroundTask(
        0.001, lambda *args, **kwargs: ran.set(), [1], {"a": 1}, bus=bus
    )
    assert not task.running
    task.start()
    assert ran.wait(PATIENCE)
    assert task.running
    assert task.daemon
    task.cancel()
    task.join(PATIENCE)
    assert not task.running


def test_a_background_task_ends_when_it_raises_an_exception(our_bus: wspbus.Bus) -> None:
    lines = logged(our_bus)
    task = plugins.BackgroundTask(0.001, lambda: 1 / 0, bus=our_bus)
    task.start()
    task.join(PATIENCE)
    assert "ZeroDivisionError" in lines[0]
    alone = plugins.BackgroundTask(0.001, lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        alone.run()


def test_a_monitor_starts_and_stops_with_the_bus(process: Process, bus: Any) -> None:
    ran = threading.Event()
    monitor = process.plugins.Monitor(bus, ran.set, frequency=0.001, name="my monitor")
    monitor.subscribe()
    bus.start()
    assert monitor.thread.name == "my monitor"
    assert ran.wait(PATIENCE)
    first = monitor.thread
    bus.graceful()
    assert monitor.thread is not first
    monitor.start()
    bus.exit()
    assert monitor.thread is None
    monitor.stop()
    never = process.plugins.Monitor(bus, ran.set, frequency=0)
    never.start()
    assert never.thread is None


def test_a_monitor_does_not_wait_for_its_function_when_it_stops(process: Process, bus: Any) -> None:
    running, released = threading.Event(), threading.Event()

    def work() -> None:
        running.set()
        released.wait(PATIENCE)

    monitor = process.plugins.Monitor(bus, work, frequency=0.001)
    monitor.start()
    thread = monitor.thread
    assert running.wait(PATIENCE)
    monitor.stop()
    assert thread.is_alive()
    released.set()
    thread.join(PATIENCE)
    assert not thread.is_alive()


def test_a_monitor_may_stop_itself(process: Process, bus: Any) -> None:
    stopped = threading.Event()
    threads: list[Any] = []

    def stop() -> None:
        threads.append(threading.current_thread())
        monitor.stop()
        stopped.set()

    monitor = process.plugins.Monitor(bus, stop, frequency=0.001)
    monitor.start()
    assert monitor.thread is None or monitor.thread.name == "Monitor"
    assert stopped.wait(PATIENCE)
    if process.plugins is not plugins:
        threads[0].cancel()  # the original's would go on
    threads[0].join(PATIENCE)
    assert not threads[0].is_alive()


def test_the_autoreloader_restarts_when_a_file_has_changed(
    process: Process, bus: Any, tmp_path: Path
) -> None:
    file = tmp_path / "watched.txt"
    file.write_text("1")
    restarted = threading.Event()
    bus.restart = restarted.set
    reloader = process.plugins.Autoreloader(bus, frequency=0.001, match="^compat")
    reloader.files.add(str(file))
    assert __file__ in reloader.sysfiles()
    reloader.subscribe()
    bus.start()
    for number in range(1000):
        file.write_text("x" * number)
        os.utime(file, (number, number))
        if restarted.wait(0.02):
            break
    assert restarted.is_set()
    bus.exit()


def test_the_autoreloader_notices_deleted_files(our_bus: wspbus.Bus, tmp_path: Path) -> None:
    file = tmp_path / "watched.txt"
    file.write_text("1")
    restarted: list[int] = []
    our_bus.restart = lambda: restarted.append(1)  # type: ignore[method-assign]
    reloader = plugins.Autoreloader(our_bus, match="^no module$")
    reloader.files.update([str(file), str(tmp_path / "none")])
    reloader.run()
    reloader.run()
    assert not restarted
    file.unlink()
    reloader.run()
    assert restarted
    our_bus.is_hosted = True
    reloader.start()
    assert reloader.thread is None


def test_the_autoreloader_checks_files_once_for_two_starts(our_bus: wspbus.Bus) -> None:
    reloader = plugins.Autoreloader(our_bus, frequency=60, match="^no module$")
    reloader.start()
    first = reloader.thread
    reloader.start()
    assert reloader.thread is first
    reloader.stop()


def test_threads_are_numbered(process: Process, bus: Any) -> None:
    seen: list[tuple[str, int]] = []
    manager = process.plugins.ThreadManager(bus)
    manager.subscribe()
    bus.subscribe("start_thread", lambda number: seen.append(("start", number)))
    bus.subscribe("stop_thread", lambda number: seen.append(("stop", number)))
    bus.publish("release_thread")
    bus.publish("acquire_thread")
    bus.publish("acquire_thread")
    other = threading.Thread(target=bus.publish, args=("acquire_thread",))
    other.start()
    other.join(PATIENCE)
    bus.publish("release_thread")
    bus.publish("acquire_thread")
    bus.graceful()
    assert seen[:3] == [("start", 1), ("start", 2), ("stop", 1)]
    assert len(seen) == 6
    assert manager.threads == {}


def test_a_new_thread_with_the_ident_of_an_ended_one_is_announced(our_bus: wspbus.Bus) -> None:
    manager = plugins.ThreadManager(our_bus)
    manager.subscribe()
    started: list[int] = []
    our_bus.subscribe("start_thread", started.append)

    def handle_requests() -> None:
        manager.threads[threading.get_ident()] = 7  # as after a thread that has ended
        our_bus.publish("acquire_thread")
        our_bus.publish("acquire_thread")

    thread = threading.Thread(target=handle_requests)
    thread.start()
    thread.join(PATIENCE)
    assert started == [7]


def test_the_pid_file_has_the_process_id(process: Process, bus: Any, tmp_path: Path) -> None:
    file = tmp_path / "pid"
    plugin = process.plugins.PIDFile(bus, str(file))
    plugin.subscribe()
    bus.start()
    assert file.read_text() == f"{os.getpid()}\n"
    bus.start()
    bus.exit()
    assert not file.exists()
    plugin.exit()


@pytest.mark.processes
def test_privileges_are_dropped(tmp_path: Path) -> None:
    script = """
dropped = plugins.DropPrivileges(bus, umask=0o027, uid=os.getuid(), gid=os.getgid())
dropped.subscribe()
bus.start()
bus.start()
print(oct(os.umask(0)))
"""
    done = run(tmp_path, script)
    assert done.stdout.count("User ") == 1
    assert "0o27\n" in done.stdout
    plugin = plugins.DropPrivileges(wspbus.Bus(), uid="root", gid="root")
    assert (plugin.uid, plugin.gid) == (0, 0)
    assert "group" in run(tmp_path, "plugins.DropPrivileges(bus).start()").stdout


def test_the_user_and_the_group_may_be_set_by_name(process: Process, bus: Any) -> None:
    """Configuration sets them: ``engine.drop_privileges.uid = "www-data"``."""
    plugin = process.plugins.DropPrivileges(bus)
    assert (plugin.uid, plugin.gid) == (None, None)
    plugin.uid, plugin.gid = "root", "root"
    assert (plugin.uid, plugin.gid) == (0, 0)
    plugin.uid, plugin.gid = 7, None
    assert (plugin.uid, plugin.gid) == (7, None)
    with pytest.raises(KeyError):
        plugin.uid = "nobody of this name"


def test_supplementary_groups_of_root_are_dropped(
    our_bus: wspbus.Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    called: list[Any] = []
    for name in ("setgroups", "setgid"):
        monkeypatch.setattr(f"os.{name}", lambda value, name=name: called.append((name, value)))
    for euid in (0, 1000):
        monkeypatch.setattr("os.geteuid", lambda euid=euid: euid)
        plugins.DropPrivileges(our_bus, gid=7).start()
    assert called == [("setgroups", []), ("setgid", 7), ("setgid", 7)]


@pytest.mark.processes
def test_a_program_becomes_a_daemon(tmp_path: Path) -> None:
    out = tmp_path / "out"
    script = f"""
plugins.Daemonizer(bus, stdout={str(out)!r}).subscribe()
first = os.getpid(), os.getsid(0)
bus.start()
bus.publish("start")
print("daemon", first[0] != os.getpid(), first[1] != os.getsid(0), os.getsid(0) != os.getpid(), flush=True)
bus.exit()
"""
    done = run(tmp_path, script)
    assert done.returncode == 0
    until(lambda: out.exists() and "Bus EXITED" in out.read_text())
    assert "daemon True True True" in out.read_text()
    assert "Already daemonized" in out.read_text()


def test_a_daemon_warns_about_running_threads(
    our_bus: wspbus.Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = logged(our_bus)
    daemonized: list[Any] = []
    monkeypatch.setattr(
        plugins.Daemonizer, "daemonize", lambda *arguments: daemonized.append(arguments)
    )
    plugin = plugins.Daemonizer(our_bus)
    go_on = threading.Event()
    worker = threading.Thread(target=go_on.wait, name="a worker")
    worker.start()
    plugin.start()
    go_on.set()
    worker.join()
    assert "a worker" in lines[0]
    assert daemonized
    our_bus.is_hosted = True
    with pytest.raises(RuntimeError, match="gunicorn --daemon"):
        plugins.Daemonizer(our_bus).start()


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    until(
        lambda: (
            not [
                t
                for t in threading.enumerate()
                if isinstance(t, plugins.BackgroundTask) and t not in before
            ]
        )
    )
