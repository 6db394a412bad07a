"""The bus: channels on which functions subscribe to messages, and the states of a process.

    STOPPED -> start() -> STARTING -> STARTED -> stop() -> STOPPING -> STOPPED -> exit() -> EXITING

Each of these methods calls the subscribers of the channel that has its name: ``start``, ``stop`` or
``exit``.
"""

from __future__ import annotations

import atexit
import os
import sys
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from traceback import format_exception
from types import SimpleNamespace
from typing import Any

from micropie_compat.results import AnyFunction, Values, words

_OF_REQUESTS = words("before_request after_request acquire_thread start_thread stop_thread")

# The exit status after a failed shutdown.
_SOFTWARE_ERROR = 70


class ChannelFailures(Exception):
    """Contains the exceptions that a channel's subscribers have raised. It is raised after all
    subscribers have been called.
    """

    delimiter = "\n"

    def __init__(self, exceptions: Sequence[BaseException] = ()) -> None:
        super().__init__(*exceptions)
        self._exceptions = list(exceptions)

    def handle_exception(self) -> None:
        """Add the current exception to the list."""
        caught = sys.exception()
        if caught is not None:
            self._exceptions.append(caught)

    def get_instances(self) -> list[BaseException]:
        """Return the list of exceptions."""
        return self._exceptions[:]

    def __str__(self) -> str:
        return self.delimiter.join(map(repr, self._exceptions))

    __repr__ = __str__

    def __bool__(self) -> bool:
        return bool(self._exceptions)


class State:
    """A state of the bus, such as STARTED."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return f"states.{self.name}"


states = SimpleNamespace(
    **{name: State(name) for name in words("STOPPED STARTING STARTED STOPPING EXITING")}
)


class Bus:
    """The channels on which messages are published, and the state of the process."""

    states = states
    execv = False
    """Whether ``block`` runs the program again after the bus has exited."""

    def __init__(self) -> None:
        self.state: State = states.STOPPED
        self.is_hosted = False
        """Whether an external server runs the application. If so, the bus must not end the process.
        """
        self.serves_itself = False
        """Whether this program has started a server itself. That server calls the application's
        startup handlers, and these must not start the bus again.
        """
        self.before_start: Callable[[], object] = bool
        """A function that ``start`` calls before anything else."""
        self.listeners: dict[str, set[AnyFunction]] = {
            channel: set() for channel in words("start stop exit graceful log main")
        }
        self.watches_requests = False
        """Whether any function is subscribed to a channel for requests or their threads."""
        self._priorities: dict[tuple[str, AnyFunction], int] = {}
        self._has_clean_exit = False
        # The applications that external servers run, one entry for each server.
        self._followers: list[object] = []
        # Held while followers change and while the bus exits with the last one, but not while it
        # starts: a subscriber of "start" may start another application in another thread.
        self._following = threading.RLock()

    # -- channels ----------------------------------------------------------------------------------

    def subscribe(
        self,
        channel: str,
        callback: AnyFunction | None = None,
        priority: int | None = None,
    ) -> Any:
        """Call ``callback`` for each message published on ``channel``. Without a callback, return a
        decorator.

        ``priority``: from 0 (called first) to 100; by default the callback's attribute
        ``priority``, or 50.
        """
        if callback is None:
            return lambda function: self.subscribe(channel, function, priority)
        self.listeners.setdefault(channel, set()).add(callback)
        self.watches_requests = self.watches_requests or channel in _OF_REQUESTS
        if priority is None:
            priority = getattr(callback, "priority", 50)
        self._priorities[channel, callback] = priority
        return callback

    def unsubscribe(self, channel: str, callback: AnyFunction) -> None:
        """Stop calling ``callback`` for this channel."""
        found = self.listeners.get(channel, set())
        if callback in found:
            found.discard(callback)
            del self._priorities[channel, callback]

    def publish(self, channel: str, *args: object, **kwargs: object) -> list[Any]:
        """Call the subscribers of ``channel`` by priority, and return the list of their results.

        All subscribers are called, even if some raise exceptions. ``ChannelFailures`` is raised at
        the end.
        """
        listeners = self.listeners.get(channel)
        if not listeners:
            return []
        failures, output = ChannelFailures(), []
        for listener in sorted(
            listeners, key=lambda listener: self._priorities.get((channel, listener), 50)
        ):
            try:
                output.append(listener(*args, **kwargs))
            except KeyboardInterrupt:
                raise
            except SystemExit as error:
                # the exit status 0 would hide the failures
                if failures and not error.code:
                    error.code = 1
                raise
            except Exception:
                failures.handle_exception()
                if channel != "log":  # an error of the log can't be logged
                    self.log(f"Error in {channel!r} listener {listener!r}", 40, True)
        if failures:
            raise failures
        return output

    def log(self, msg: str = "", level: int = 20, traceback: bool = False) -> None:
        """Publish a message on the channel "log". With ``traceback``, add the exception that is
        being handled.
        """
        caught = sys.exception()
        if traceback and caught is not None:
            msg += "\n" + "".join(format_exception(caught))
        self.publish("log", msg, level)

    # -- states ------------------------------------------------------------------------------------

    def start(self) -> None:
        """Call the subscribers of "start". If a subscriber raises an exception, exit the bus and
        raise the exception again.
        """
        self.before_start()
        if not self._has_clean_exit:
            self._has_clean_exit = True
            atexit.register(self._clean_exit)
        self.state = states.STARTING
        self.log("Bus STARTING")
        try:
            self.publish("start")
            self.state = states.STARTED
            self.log("Bus STARTED")
        except (KeyboardInterrupt, SystemExit):
            raise
        except Exception:
            self.log("Shutting down due to error in start listener:", 40, True)
            self.stop()
            self._set_exiting()
            raise

    def stop(self) -> None:
        """Call the subscribers of "stop"."""
        self.state = states.STOPPING
        self.log("Bus STOPPING")
        self.publish("stop")
        self.state = states.STOPPED
        self.log("Bus STOPPED")

    def exit(self) -> None:
        """Stop, then call the subscribers of "exit". Then the method ``block`` returns."""
        was_starting = self.state is states.STARTING
        try:
            self.stop()
            self._set_exiting()
        except Exception:
            if self.is_hosted:
                raise
            self.log("The bus could not exit cleanly", 40, True)
            os._exit(_SOFTWARE_ERROR)
        # A signal handler has called this method during ``start``. End the process, because
        # ``start`` would continue when the signal handler returns.
        if was_starting and not self.is_hosted:
            self.log("Bus EXITED while it was starting", 40)
            os._exit(_SOFTWARE_ERROR)

    def _set_exiting(self) -> None:
        self.state = states.EXITING
        self.log("Bus EXITING")
        self.publish("exit")
        self.log("Bus EXITED")

    def restart(self) -> None:
        """Exit the bus. ``block`` then runs the program again."""
        if self.is_hosted:
            raise RuntimeError(
                "engine.restart() can't restart the server that runs this application: restart it "
                "yourself, for example by sending SIGHUP to gunicorn"
            )
        self.execv = True
        self.exit()

    def graceful(self) -> None:
        """Call the subscribers of "graceful"."""
        self.log("Bus graceful")
        self.publish("graceful")

    def block(self, interval: float = 0.1) -> None:
        """Wait until the bus has exited, and then until all other threads except the main thread
        have ended.

        Ctrl-C and ``SystemExit`` exit the bus.

        A message is published on "main" every ``interval`` seconds.
        """
        try:
            self.wait(states.EXITING, interval, "main")
        except (KeyboardInterrupt, OSError):
            self.log("Keyboard Interrupt: shutting down bus")
            self.exit()
        except SystemExit:
            self.log("SystemExit raised: shutting down bus")
            self.exit()
            raise
        self.log("Waiting for child threads to terminate...")
        ours = threading.current_thread(), threading.main_thread()
        for thread in threading.enumerate():
            # Threads that weren't started by ``threading`` can't be joined. They count as daemons.
            if thread not in ours and not thread.daemon:
                self.log(f"Waiting for thread {thread.name}.")
                thread.join()
        if self.execv:
            self._do_execv()

    def wait(
        self, state: State | Iterable[State], interval: float = 0.1, channel: str | None = None
    ) -> None:
        """Wait until the bus is in the given state, or in one of several.

        A message is published on ``channel`` every ``interval`` seconds.
        """
        wanted = [state] if isinstance(state, State) else list(state)
        # A condition variable can't be used: a signal handler may change the state while this
        # thread holds the variable's lock.
        while self.state not in wanted:
            time.sleep(interval)
            if channel is not None:
                self.publish(channel)

    def start_with_callback(
        self,
        func: AnyFunction,
        args: Sequence[object] = (),
        kwargs: Values | None = None,
    ) -> threading.Thread:
        """Start the bus, and call ``func`` in a new thread once the bus has started. Return the
        thread.
        """

        def call() -> None:
            self.wait(states.STARTED)
            func(*args, **(kwargs or {}))

        thread = threading.Thread(target=call, name=f"Bus Callback {getattr(func, '__name__', '')}")
        thread.start()
        self.start()
        return thread

    # -- external servers --------------------------------------------------------------------------

    def follow_start(self, app: object) -> None:
        """Start the bus, because an external server has started ``app``.

        If the bus is exiting with another application, first wait until it has exited. Does nothing
        if the program itself has started the bus.
        """
        with self._following:
            if self.is_hosted:
                self._followers.append(app)
                return
            if self.serves_itself or self.state not in (states.STOPPED, states.EXITING):
                return
            self.is_hosted, self._followers = True, [app]
        try:
            self.start()
        except Exception:
            with self._following:
                self.is_hosted, self._followers = False, []
            raise

    def follow_stop(self, app: object) -> None:
        """Record that an external server has stopped ``app``. Exit the bus if no other application
        follows it. Does nothing if ``app`` hasn't followed the bus.
        """
        with self._following:
            if app not in self._followers:
                return
            self._followers.remove(app)
            if not self._followers:
                try:
                    if self.state is not states.EXITING:
                        self.exit()
                finally:
                    self.is_hosted = False

    # -- exiting the process -----------------------------------------------------------------------

    def _clean_exit(self) -> None:
        """Exit the bus when the program ends, unless the bus has exited already."""
        if self.state is not states.EXITING and self.state is not states.STOPPED:
            self.log("The program is ending without a call of engine.exit(): the bus exits now", 30)
            self.exit()

    def _do_execv(self) -> None:
        """Replace this process with a new run of the program. Open files and sockets are closed."""
        command = [sys.executable, *sys.orig_argv[1:]]
        self.log(f"Re-spawning {' '.join(command)}")
        os.chdir(_DIRECTORY)
        os.execv(sys.executable, command)  # noqa: S606 - runs this program


_DIRECTORY = os.getcwd()

bus = Bus()
