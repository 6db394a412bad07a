"""Plugins of the bus: background tasks, signal handlers, and plugins that change the process, for
example its user.
"""

from __future__ import annotations

import os
import re
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from contextvars import Context
from importlib import import_module
from signal import Signals
from signal import signal as set_signal
from types import FrameType
from typing import Any, ClassVar

from micropie_compat.cherrypy.process.wspbus import Bus, states  # noqa: F401 - re-exported
from micropie_compat.results import AnyFunction, StrPath, Values


class SimplePlugin:
    """A plugin whose methods are subscribed to the channels of the same name: ``start``, ``stop``,
    ``exit``, or a channel that a program has added.
    """

    finalized = False
    """Whether a plugin that changes the process has done so."""

    def __init__(self, bus: Bus) -> None:
        self.bus = bus

    def subscribe(self) -> None:
        """For each channel, subscribe the method of the same name if there is one."""
        for channel, method in self._methods():
            self.bus.subscribe(channel, method)

    def unsubscribe(self) -> None:
        """Unsubscribe the methods."""
        for channel, method in self._methods():
            self.bus.unsubscribe(channel, method)

    def _methods(self) -> list[tuple[str, AnyFunction]]:
        found = [(channel, getattr(self, channel, None)) for channel in self.bus.listeners]
        return [(channel, method) for channel, method in found if method is not None]


class BackgroundTask(threading.Thread):
    """A thread that calls a function every ``interval`` seconds, until ``cancel()`` is called or
    the function raises an exception.
    """

    def __init__(
        self,
        interval: float,
        function: AnyFunction,
        args: Sequence[object] = (),
        kwargs: Values | None = None,
        bus: Bus | None = None,
    ) -> None:
        super().__init__(daemon=True)
        self.interval = interval
        self.function = function
        self.args = args
        self.kwargs = dict(kwargs or {})
        self.bus = bus
        self._cancelled = threading.Event()

    @property
    def running(self) -> bool:
        """Whether the thread is running and hasn't been cancelled."""
        return self.is_alive() and not self._cancelled.is_set()

    def cancel(self) -> None:
        """Stop the thread. If the function is running, the thread ends when it returns."""
        self._cancelled.set()

    def run(self) -> None:
        """Call the function every ``interval`` seconds."""
        while not self._cancelled.wait(self.interval):
            try:
                self.function(*self.args, **self.kwargs)
            except Exception:
                if self.bus is None:
                    raise
                # End the thread, because the function would probably fail each time.
                self.bus.log(
                    f"Error in background task thread function {self.function!r}.", 40, True
                )
                return


class Monitor(SimplePlugin):
    """Calls a function every ``frequency`` seconds while the bus is started, or never if
    ``frequency`` is 0 or less.
    """

    callback: Any = None
    frequency: float = 60
    thread: BackgroundTask | None = None

    def __init__(
        self,
        bus: Bus,
        callback: Callable[[], object],
        frequency: float = 60,
        name: str | None = None,
    ) -> None:
        super().__init__(bus)
        self.callback = callback
        self.frequency = frequency
        self.name = name

    def start(self) -> None:
        """Start the thread that calls the function."""
        if self.frequency > 0 and self.thread is None:
            self.thread = thread = BackgroundTask(self.frequency, self.callback, bus=self.bus)
            thread.name = self.name or type(self).__name__
            # Last, because the function's first call may stop the monitor, and in an empty context,
            # because the thread outlives the current request.
            Context().run(thread.start)
            self.bus.log(f"Started monitor thread {thread.name!r}.")

    start.priority = 70  # type: ignore[attr-defined]

    def stop(self) -> None:
        """End the thread. Doesn't wait for a running function, which may wait for what another
        subscriber does.
        """
        thread, self.thread = self.thread, None
        if thread is None:
            return
        thread.cancel()
        if thread is not threading.current_thread():
            self.bus.log(f"Stopped thread {thread.name!r}.")

    def graceful(self) -> None:
        """End the thread and start a new one."""
        self.stop()
        self.start()


class Autoreloader(Monitor):
    """Restarts the program when the file of an imported module, or one of ``files``, has changed.

    ``match``: a regular expression for the names of the modules to watch.
    """

    files: set[str]
    frequency = 1

    def __init__(self, bus: Bus, frequency: float = 1, match: str = ".*") -> None:
        super().__init__(bus, self.run, frequency)
        self.match = match
        self.files = set()
        self._times: dict[str, int | None] = {}

    def start(self) -> None:
        """Record the files' modification times, and start the thread."""
        if self.bus.is_hosted:
            return  # an external server has its own reloader
        if self.thread is None:
            self._times = {}
            self.run()
        super().start()

    start.priority = 70  # type: ignore[attr-defined]

    def sysfiles(self) -> set[str]:
        """Return the paths of the imported modules' files."""
        modules = [module for name, module in [*sys.modules.items()] if re.match(self.match, name)]
        paths = {getattr(module, "__file__", None) for module in modules}
        return {os.path.abspath(path) for path in paths if isinstance(path, str)}

    def run(self) -> None:
        """Check the files, and restart the program if a modification time has changed."""
        for path in sorted(self.sysfiles() | self.files):
            try:
                modified = os.stat(path).st_mtime_ns
            except OSError:
                modified = None
            if modified == self._times.setdefault(path, modified):
                continue
            self.bus.log(f"Restarting because {path} changed.")
            if self.thread is not None:
                self.thread.cancel()
            self.bus.restart()
            return


class ThreadManager(SimplePlugin):
    """Publishes "start_thread" when a thread handles its first request, and "stop_thread" for each
    thread when the bus stops.
    """

    def __init__(self, bus: Bus) -> None:
        self.threads: dict[int, int] = {}
        # Marks the threads that have a number, because a new thread may have the ident of one that
        # has ended.
        self._marks = threading.local()
        self._lock = threading.Lock()
        super().__init__(bus)
        for channel in ("acquire_thread", "start_thread", "release_thread", "stop_thread"):
            self.bus.listeners.setdefault(channel, set())

    def subscribe(self) -> None:
        """Subscribe the methods. Alone, they needn't be called for each request."""
        watches_requests = self.bus.watches_requests
        super().subscribe()
        self.bus.watches_requests = watches_requests

    def acquire_thread(self) -> None:
        """Give the current thread a number and publish "start_thread", unless the thread has a
        number already.
        """
        ident = threading.get_ident()
        if ident in self.threads and hasattr(self._marks, "is_known"):
            return
        self._marks.is_known = True
        with self._lock:
            number = self.threads.setdefault(ident, len(self.threads) + 1)
        self.bus.publish("start_thread", number)

    def release_thread(self) -> None:
        """Remove the current thread and publish "stop_thread"."""
        with self._lock:
            number = self.threads.pop(threading.get_ident(), None)
        if number is not None:
            self.bus.publish("stop_thread", number)

    def stop(self) -> None:
        """Remove all threads and publish "stop_thread" for each."""
        with self._lock:
            numbers = [*self.threads.values()]
            self.threads.clear()
        for number in numbers:
            self.bus.publish("stop_thread", number)

    graceful = stop


# -- signals ---------------------------------------------------------------------------------------


class SignalHandler:
    """Publishes signals on channels with their names: SIGTERM exits the bus, SIGHUP restarts that
    of a daemon (and exits any other), SIGUSR1 calls ``graceful``.

    ``handlers``: a dict with the function to subscribe for each signal's name.
    """

    handlers: dict[str, Callable[[], object]]
    signals: ClassVar[dict[int, str]] = {number.value: number.name for number in Signals}

    def __init__(self, bus: Bus) -> None:
        self.bus = bus
        self.handlers = {"SIGTERM": bus.exit, "SIGHUP": self.handle_SIGHUP, "SIGUSR1": bus.graceful}
        self._previous: dict[int, Callable[[int, FrameType | None], object] | int | None] = {}
        self._process = os.getpid()

    def subscribe(self) -> None:
        """Install the signal handlers. Signals that the system doesn't have are skipped; outside
        of the main thread, which alone can install handlers, all are.
        """
        for name, handler in self.handlers.items():
            with suppress(ValueError):
                self.set_handler(name, handler)

    def unsubscribe(self) -> None:
        """Restore the signal handlers that were installed before, if this is the main thread."""
        for number, handler in self._previous.items():
            with suppress(ValueError):
                set_signal(number, handler)
        self._previous = {}

    def set_handler(self, signal: int | str, listener: Callable[[], object] | None = None) -> None:
        """Publish on the channel with the signal's name when the process receives a signal, given
        by name or number. ``listener``: a function to subscribe to this channel.
        """
        number = Signals.__members__.get(signal) if isinstance(signal, str) else signal
        if number not in self.signals:
            raise ValueError(f"No such signal: {signal!r}")
        previous = set_signal(number, self._handle)
        self._previous.setdefault(number, previous)
        if listener is not None:
            self.bus.subscribe(self.signals[number], listener)

    def _handle(self, signum: int, frame: object = None) -> None:
        name = self.signals[signum]
        self.bus.log(f"Caught signal {name}.")
        self.bus.publish(name)

    def handle_SIGHUP(self) -> None:  # noqa: N802 - CherryPy's name
        """Restart a daemon: a process that was forked since this object was created, and that has
        no terminal. Exit any other process, whose terminal was closed.
        """
        if self._process == os.getpid() or os.isatty(sys.stdin.fileno()):
            self.bus.log("SIGHUP caught but not daemonized. Exiting.")
            self.bus.exit()
        else:
            self.bus.log("SIGHUP caught while daemonized. Restarting.")
            self.bus.restart()


# -- the process -----------------------------------------------------------------------------------


class PIDFile(SimplePlugin):
    """Writes the process ID to a file at startup, and removes the file at exit."""

    def __init__(self, bus: Bus, pidfile: StrPath) -> None:
        super().__init__(bus)
        self.pidfile = os.fspath(pidfile)

    def start(self) -> None:
        """Write the process ID to the file."""
        if not self.finalized:
            with open(self.pidfile, "w", encoding="ascii") as file:
                file.write(f"{os.getpid()}\n")
            self.finalized = True
            self.bus.log(f"PID {os.getpid()} written to {self.pidfile!r}.")

    start.priority = 70  # type: ignore[attr-defined]

    def exit(self) -> None:
        """Remove the file."""
        with suppress(OSError):  # raised if the file no longer exists
            os.remove(self.pidfile)
            self.bus.log(f"PID file removed: {self.pidfile!r}.")


def _number_of(module: str, find: str, attribute: str) -> Any:
    """Return a property for the number of a user or a group, which may also be set by name."""

    def put(plugin: DropPrivileges, value: int | str | None) -> None:
        if isinstance(value, str):
            value = getattr(getattr(import_module(module), find)(value), attribute)
        vars(plugin)[attribute] = value

    return property(lambda plugin: vars(plugin)[attribute], put)


class DropPrivileges(SimplePlugin):
    """Changes the process's user, group and umask after the server has opened its port, so that a
    program started as root can use port 80.

    ``uid`` and ``gid`` are set as numbers or names, and read as numbers.
    """

    def __init__(
        self,
        bus: Bus,
        umask: int | None = None,
        uid: int | str | None = None,
        gid: int | str | None = None,
    ) -> None:
        super().__init__(bus)
        self.umask = umask
        self.uid = uid
        self.gid = gid

    uid = _number_of("pwd", "getpwnam", "pw_uid")
    gid = _number_of("grp", "getgrnam", "gr_gid")

    def start(self) -> None:
        """Change the process's group, user and umask."""
        if self.finalized:
            return
        self.finalized = True
        # Change the group before the user, because the new user may not be allowed to change the
        # group.
        if self.gid is not None:
            if os.geteuid() == 0:
                os.setgroups([])
            os.setgid(self.gid)
        if self.uid is not None:
            os.setuid(self.uid)
        if self.umask is not None:
            os.umask(self.umask)
        self.bus.log(f"User {os.getuid()}, group {os.getgid()}.")

    start.priority = 77  # type: ignore[attr-defined]


class Daemonizer(SimplePlugin):
    """At startup, moves the process to the background, where it has no terminal and is no longer a
    child of the process that started it.

    This plugin runs before plugins that start threads, such as the server, because a forked process
    doesn't have the threads of its parent. If threads exist already, this plugin logs a warning and
    forks nevertheless.
    """

    def __init__(
        self, bus: Bus, stdin: str = os.devnull, stdout: str = os.devnull, stderr: str = os.devnull
    ) -> None:
        super().__init__(bus)
        self.stdin, self.stdout, self.stderr = stdin, stdout, stderr

    def start(self) -> None:
        """Fork twice; after the second fork the process can't get a terminal again."""
        if self.finalized:
            self.bus.log("Already daemonized.")
            return
        if self.bus.is_hosted:
            raise RuntimeError(
                "Daemonizer has no effect on the server that runs this application: start that "
                "server in the background, for example with gunicorn --daemon"
            )
        if threading.active_count() != 1:
            names = ", ".join(thread.name for thread in threading.enumerate())
            self.bus.log(
                f"{threading.active_count()} threads are active ({names}), but only the current "
                "one continues in the daemon",
                30,
            )
        self.finalized = True
        self.daemonize(self.stdin, self.stdout, self.stderr, self.bus.log)

    start.priority = 65  # type: ignore[attr-defined]

    @staticmethod
    def daemonize(
        stdin: str = os.devnull,
        stdout: str = os.devnull,
        stderr: str = os.devnull,
        logger: Callable[[str], object] = lambda message: None,
    ) -> None:
        """Move the process to the background now."""

        def leave_terminal() -> None:
            os.setsid()
            _go_on_in_child(redirect)

        def redirect() -> None:
            with open(stdin) as source, open(stdout, "a+") as out, open(stderr, "a+") as errors:
                for opened, standard in ((source, 0), (out, 1), (errors, 2)):
                    os.dup2(opened.fileno(), standard)
            logger(f"Daemonized to PID: {os.getpid()}")

        sys.stdout.flush()
        sys.stderr.flush()
        _go_on_in_child(leave_terminal)


def _go_on_in_child(function: Callable[[], object]) -> None:
    """Fork, and exit this process. The child calls ``function`` and continues the program."""
    os._exit(0) if os.fork() else function()
