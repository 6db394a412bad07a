"""The bus: channels to publish on and to subscribe to, and the states of a process.

    STOPPED -> start() -> STARTING -> STARTED -> stop() -> STOPPING -> STOPPED -> exit() -> EXITING

Every change of the state calls the subscribers of the channel of its name: ``start``, ``stop``,
``exit``.
"""

from __future__ import annotations

import atexit
import os
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from traceback import format_exception
from types import SimpleNamespace
from typing import Any

_OF_REQUESTS = {"before_request", "after_request", "start_thread", "stop_thread"}

# The exit status of a program that could not be shut down in order.
_SOFTWARE_ERROR = 70


class ChannelFailures(Exception):
    """What the subscribers of a channel have raised. All of them were called."""

    delimiter = "\n"

    def __init__(self, exceptions: Sequence[BaseException] = ()) -> None:
        super().__init__(*exceptions)
        self._exceptions = list(exceptions)

    def handle_exception(self) -> None:
        """Add the exception that is being handled."""
        caught = sys.exception()
        if caught is not None:
            self._exceptions.append(caught)

    def get_instances(self) -> list[BaseException]:
        """Return the exceptions."""
        return self._exceptions[:]

    def __str__(self) -> str:
        return self.delimiter.join(map(repr, self._exceptions))

    __repr__ = __str__

    def __bool__(self) -> bool:
        return bool(self._exceptions)


class State:
    """A state of the bus."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return f"states.{self.name}"


states = SimpleNamespace(
    **{name: State(name) for name in ("STOPPED", "STARTING", "STARTED", "STOPPING", "EXITING")}
)


class Bus:
    """Channels, and the state of the process."""

    states = states
    execv = False
    """Whether ``block`` runs the program again when the bus has exited."""

    def __init__(self) -> None:
        self.state: State = states.STOPPED
        self.is_hosted = False
        """Whether a server that was started from outside serves the application, so that the
        process is not ours."""
        self.serves_itself = False
        """Whether this process has started a server, which calls the application's startup
        handlers."""
        self.before_start: Callable[[], object] = bool
        """Called when a program starts the bus."""
        self.listeners: dict[str, set[Callable[..., object]]] = {
            channel: set() for channel in ("start", "stop", "exit", "graceful", "log", "main")
        }
        self.watches_requests = False
        """Whether somebody has subscribed to what happens to requests and their threads."""
        self._priorities: dict[tuple[str, Callable[..., object]], int] = {}
        self._has_clean_exit = False
        self._hosted = 0  # the applications that servers from outside have started

    # -- channels ----------------------------------------------------------------------------------

    def subscribe(
        self,
        channel: str,
        callback: Callable[..., object] | None = None,
        priority: int | None = None,
    ) -> Any:
        """Call ``callback`` with what is published on ``channel``. Without it, a decorator.

        ``priority``: from 0, which is called first, to 100; by default the callback's attribute of
        that name, or 50.
        """
        if callback is None:
            return lambda function: self.subscribe(channel, function, priority)
        self.listeners.setdefault(channel, set()).add(callback)
        self.watches_requests = self.watches_requests or channel in _OF_REQUESTS
        if priority is None:
            priority = getattr(callback, "priority", 50)
        self._priorities[channel, callback] = priority
        return callback

    def unsubscribe(self, channel: str, callback: Callable[..., object]) -> None:
        """Call ``callback`` no longer."""
        found = self.listeners.get(channel, set())
        if callback in found:
            found.discard(callback)
            del self._priorities[channel, callback]

    def publish(self, channel: str, *args: object, **kwargs: object) -> list[Any]:
        """Call the subscribers of ``channel`` and return what they return, in the order of their
        priorities.

        If some of them raise, the others are called all the same; then ``ChannelFailures`` is
        raised.
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
                if failures and not error.code:  # a good end does not hide what has failed
                    error.code = 1
                raise
            except Exception:
                failures.handle_exception()
                if channel != "log":  # it would fail again
                    self.log(f"Error in {channel!r} listener {listener!r}", 40, True)
        if failures:
            raise failures
        return output

    def log(self, msg: str = "", level: int = 20, traceback: bool = False) -> None:
        """Publish a message on the channel "log", with the exception that is being handled if
        ``traceback``.
        """
        caught = sys.exception()
        if traceback and caught is not None:
            msg += "\n" + "".join(format_exception(caught))
        self.publish("log", msg, level)

    # -- states ------------------------------------------------------------------------------------

    def start(self) -> None:
        """Call the subscribers of "start". If one fails, the bus exits, and that is raised."""
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
        """Stop, and call the subscribers of "exit". ``block`` returns then."""
        was_starting = self.state is states.STARTING
        try:
            self.stop()
            self._set_exiting()
        except Exception:
            if self.is_hosted:
                raise
            self.log("The bus could not exit in order", 40, True)
            os._exit(_SOFTWARE_ERROR)
        if was_starting and not self.is_hosted:  # by a signal: ``start`` would go on
            self.log("Bus EXITED while it was starting", 40)
            os._exit(_SOFTWARE_ERROR)

    def _set_exiting(self) -> None:
        self.state = states.EXITING
        self.log("Bus EXITING")
        self.publish("exit")
        self.log("Bus EXITED")

    def restart(self) -> None:
        """Exit, and run the program again, which ``block`` does."""
        if self.is_hosted:
            raise RuntimeError(
                "the server that serves this application restarts it: "
                "gunicorn by SIGHUP, for example"
            )
        self.execv = True
        self.exit()

    def graceful(self) -> None:
        """Call the subscribers of "graceful"."""
        self.log("Bus graceful")
        self.publish("graceful")

    def block(self, interval: float = 0.1) -> None:
        """Wait until the bus has exited, then for the other threads.

        Ctrl-C and ``SystemExit`` make it exit.

        The subscribers of "main" are called every ``interval`` seconds.
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
        for thread in threading.enumerate():
            # Threads of other code, which ``threading`` only knows by sight, can't be waited for.
            if thread is not threading.current_thread() and not thread.daemon:
                self.log(f"Waiting for thread {thread.name}.")
                thread.join()
        if self.execv:
            self._do_execv()

    def wait(
        self, state: State | Iterable[State], interval: float = 0.1, channel: str | None = None
    ) -> None:
        """Wait for a state, or one of several.

        Something is published on ``channel`` every ``interval`` seconds.
        """
        wanted = [state] if isinstance(state, State) else list(state)
        # Sleeping, and not a condition: a signal's handler changes the state, and may interrupt
        # this at any line.
        while self.state not in wanted:
            time.sleep(interval)
            if channel is not None:
                self.publish(channel)

    def start_with_callback(
        self,
        func: Callable[..., object],
        args: Sequence[object] = (),
        kwargs: Mapping[str, object] | None = None,
    ) -> threading.Thread:
        """Call ``func`` in a thread when the bus has started, and start it."""

        def call() -> None:
            self.wait(states.STARTED)
            func(*args, **(kwargs or {}))

        thread = threading.Thread(target=call, name=f"Bus Callback {getattr(func, '__name__', '')}")
        thread.start()
        self.start()
        return thread

    # -- a server from outside ---------------------------------------------------------------------

    def follow_start(self) -> None:
        """Start, because a server has started an application.

        Nothing if the program itself has started the bus.
        """
        if self.is_hosted:
            self._hosted += 1
        elif not self.serves_itself and self.state in (states.STOPPED, states.EXITING):
            self.is_hosted, self._hosted = True, 1
            self.start()

    def follow_stop(self) -> None:
        """Exit, because the last application that a server has started ends."""
        if not self.is_hosted:
            return
        self._hosted -= 1
        if not self._hosted:
            try:
                if self.state is not states.EXITING:
                    self.exit()
            finally:
                self.is_hosted = False

    # -- the end of the process --------------------------------------------------------------------

    def _clean_exit(self) -> None:
        """Exit if the program ends without it. ``_do_execv`` is left out: nobody asked for it."""
        if self.state is not states.EXITING and self.state is not states.STOPPED:
            self.log("The program ends, and engine.exit() was not called: the bus exits", 30)
            self.exit()

    def _do_execv(self) -> None:
        """Run this program again, in this process. Its files and sockets are closed by that."""
        command = [sys.executable, *sys.orig_argv[1:]]
        self.log(f"Re-spawning {' '.join(command)}")
        os.chdir(_DIRECTORY)
        os.execv(sys.executable, command)  # noqa: S606 - this program


_DIRECTORY = os.getcwd()

bus = Bus()
