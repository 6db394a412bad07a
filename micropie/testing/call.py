"""One call of the application. Under both protocols it exchanges ASGI messages with the test.

The application runs in another thread, so that the test can stop waiting for it. Its messages reach
the test through a queue. The application produces the next chunk of a stream only when the test has
taken the last one, so a test sees a stream as it is produced, and the application is at most one
chunk ahead. When the application reads more of the request's body, the test's thread produces the
chunk, so a test's generator runs in the test's own thread.
"""

from __future__ import annotations

import queue
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

from anyio import from_thread

from micropie.testing.errors import (
    AppTimeout,
    ClientDisconnected,
    ProtocolViolation,
    is_only_disconnect,
)

Message = MutableMapping[str, Any]

# The key of a function in a scope or an environ. micropie calls this function with each error that
# becomes a 500 or is only logged.
ON_FAILURE = "micropie.on_failure"

WANTS_BODY: Message = {"type": "the application is waiting for more of the request's body"}

# How many seconds an application may take to end once it has been cancelled. A cancellation that
# works takes much less.
CANCEL_GRACE = 1.0

# How often a thread that waits for a message checks whether it still has to, in seconds.
LOOK_EVERY = 0.05

# How many messages are buffered until the test reads them; a network buffers messages, too. Without
# a limit, an application that sends endlessly would fill the memory.
MESSAGES_AHEAD = 64


class ClientSettings(NamedTuple):
    """The arguments of ``TestClient`` that every call needs."""

    root_path: str
    client: tuple[str, int] | None
    raise_app_exceptions: bool
    app_timeout: float
    lifespan: bool
    denial_response: bool
    raw_uri: bool
    late: list[BaseException]  # errors in functions that run after the response


def checked_headers(message: Message) -> list[tuple[bytes, bytes]]:
    """Return the headers of a message that starts a response or accepts a WebSocket, as a list of
    pairs.

    Raises ``ProtocolViolation``.
    """
    headers = [(name, value) for name, value in message.get("headers", ())]
    for name, value in headers:
        if not isinstance(name, bytes) or not isinstance(value, bytes):
            raise ProtocolViolation(
                f"{message['type']}: headers must be pairs of bytes, not ({name!r}, {value!r})"
            )
    return headers


def look_for_cancellation() -> None:
    """Raise the cancellation if this thread works for a task that has been cancelled."""
    with suppress(RuntimeError):  # raised in a thread that works for no task
        from_thread.check_cancelled()


class Runner(ABC):
    """Runs the application for one call, in another thread.

    It gets the application's messages from the call's method ``next_message``, and passes each
    message that the application sends to ``sending``. The application waits, in the context manager
    ``waiting``, until there is a message, or until it may continue after sending one.
    """

    @abstractmethod
    def start(self, call: ClientCall) -> None:
        """Start the application.

        When the application ends, set the call's ``error``, and put None into its ``outbox``.
        """

    @abstractmethod
    def wake(self) -> None:
        """Wake the application, so that it checks again whether it can continue."""

    @abstractmethod
    def is_current(self) -> bool:
        """Return whether this code runs in the application's own task or thread, or in a thread for
        which the task may be waiting.
        """

    def cancel(self) -> None:  # noqa: B027 - not every protocol can do that
        """Stop the application."""


class ClientCall:
    """A call of the application. The test's thread changes this object and then wakes the
    application.
    """

    disconnect: Message  # the message that reports the client's disconnect
    body: Iterator[Message]  # the body of an HTTP request, message by message
    advice = "if it needs longer, write TestClient(app, app_timeout=60)"

    def __init__(self, runner: Runner, label: str, settings: ClientSettings) -> None:
        self.label = label
        self.settings = settings
        # Messages to the application.
        self.inbox: deque[Message] = deque()
        # Messages to the test; None marks the end.
        self.outbox: queue.SimpleQueue[Message | None] = queue.SimpleQueue()
        self.error: BaseException | None = None
        # whether the test can produce another message when the application reads
        self.may_ask = False
        # The application gets this message each time that it reads from an empty inbox.
        self.last_message: Message | None = None
        self.waits: list[str] = []  # the functions in which the application is waiting for the test
        self.hung_up = False
        self.ended = False  # whether the test has seen the call's end, or no longer waits for it
        self._runner = runner
        self._sent = 0
        self._taken = 0

    # -- the application's side --------------------------------------------------------------------

    def checked(self, message: Message) -> Message:
        """Check a message from the application to the test, and return it.

        If it is invalid, raise an error at the line of the application that sent it.
        """
        return message

    def next_message(self) -> Message | None:
        """Return the next message for the application, or None if it has to wait."""
        if self.inbox:
            return self.inbox.popleft()
        if self.last_message is None and self.hung_up:
            self.last_message = self.disconnect
        if self.last_message is not None:
            return dict(self.last_message)
        if self.may_ask:
            self.may_ask = False  # ask only once for each chunk, even if this call is cancelled
            self.outbox.put(WANTS_BODY)
        return None

    def sending(self, message: Message) -> Callable[[], bool]:
        """Pass on a message from the application to the test.

        Return a function that returns whether the application may continue. After a chunk of a
        stream, it may continue once the test has taken the chunk. After other messages, it may
        continue at once, because they are buffered.
        """
        message = self.checked(message)
        self.check_connected()
        self.outbox.put(message)
        self._sent += 1
        needed = self._sent - (0 if message.get("more_body") else MESSAGES_AHEAD)

        def may_go_on() -> bool:
            if self._taken < needed:
                self.check_connected()
            return self._taken >= needed

        return may_go_on

    @contextmanager
    def waiting(self, where: str) -> Iterator[None]:
        """A context manager for the time in which the application waits for the test. It records
        the function that waits.
        """
        self.waits.append(where)
        try:
            yield
        finally:
            self.waits.remove(where)

    def fail(self, error: BaseException) -> None:
        """Store the application's error for the test. Only the first error is stored."""
        if self.app_error is None:
            self.error = error

    def report(self, error: BaseException) -> None:
        """Store an error that the application doesn't raise, but turns into a 500 or only logs.

        If it occurs in another task or thread than the application's, the call may have ended
        already. Such an error is raised when the client is closed.
        """
        if self._runner.is_current():
            self.fail(error)
        else:
            self.settings.late.append(error)

    def reports(self) -> dict[str, Callable[[BaseException], None]]:
        """Return the entries of the scope or environ by which micropie calls ``report``."""
        return {ON_FAILURE: self.report} if self.settings.raise_app_exceptions else {}

    def check_connected(self) -> None:
        """Raise ``ClientDisconnected`` in the application if the client has disconnected."""
        if self.hung_up:
            raise ClientDisconnected(f"{self.label}: the client has disconnected")

    # -- the test's side ---------------------------------------------------------------------------

    def start(self) -> None:
        """Start the application."""
        self._runner.start(self)

    def put(self, message: Message) -> None:
        """Pass on a message from the test to the application."""
        self.inbox.append(message)
        self.wake()

    def hang_up(self) -> None:
        """Disconnect the client. After that, reading gives the application a disconnect (ASGI) or
        the end of the body (WSGI), and writing raises an error.
        """
        self.hung_up = True
        self.wake()

    def wake(self) -> None:
        """Make the application check again whether it can continue.

        Before the application checks, it records in ``waits`` that it is waiting. So either it sees
        a change that was made before this call, or this call wakes it.
        """
        if self.waits:
            self._runner.wake()

    @property
    def app_error(self) -> BaseException | None:
        """The application's own error, or None. A ``ClientDisconnected`` alone doesn't count."""
        return None if self.error is None or is_only_disconnect(self.error) else self.error

    def raise_app_error(self) -> None:
        """Raise the application's own error in the test, but only once: a test that expects it must
        not get it again later.
        """
        error = self.app_error
        if error is not None and self.settings.raise_app_exceptions:
            self.error = None
            raise error

    def next_event(
        self, what: str, timeout: float | None = None, look: Callable[[], object] = bool
    ) -> Message | None:
        """Return the application's next message, or None at its end.

        Raises ``AppTimeout`` after ``timeout`` seconds. ``look`` is called again and again during
        the wait. If it raises an exception, no message is lost.
        """
        timeout = self.settings.app_timeout if timeout is None else timeout
        left = timeout
        while True:
            try:
                event = self.outbox.get(timeout=max(min(left, LOOK_EVERY), 0))
            except queue.Empty:
                look()
                left -= LOOK_EVERY  # without a clock, because freezegun stops all of them
                if left > 0:
                    continue
                waits = " and ".join(self.waits)
                where = f"it is waiting in {waits}" if waits else "it is not waiting for the client"
                raise AppTimeout(
                    f"{self.label}: the application did not {what} within {timeout:g} s ({where}): "
                    f"{self.advice}"
                ) from None
            self.ended = self.ended or event is None
            return event

    def feed(self) -> None:
        """Pass the next message with a part of the request's body to the application."""
        message = next(self.body)
        self.may_ask = message.get("more_body", False)
        if "body" in message:
            self.inbox.append(message)
        else:
            self.last_message = message  # a disconnect, because the body ends early
        self.wake()

    def next(self, what: str, timeout: float | None = None) -> Message | None:
        """Return the application's next message, or None when it has ended. Raises the
        application's error.
        """
        while (event := self.next_event(what, timeout, look_for_cancellation)) is WANTS_BODY:
            self.feed()
        if event is None:
            look_for_cancellation()  # the application may have been cancelled with the test
            self.raise_app_error()
        self._taken += 1
        self.wake()
        return event

    def leave(self, error: BaseException | None = None) -> None:
        """Disconnect, and wait until the application has ended.

        If it doesn't end, cancel it and raise ``AppTimeout``.

        ``error``: the test's own error, if one is being raised. Then no other error is raised, but
        ``error`` gets a note about the application's error.
        """
        self.hang_up()
        try:
            # Don't wait again after a timeout, or if ``KeyboardInterrupt`` stops the tests.
            if error is None or (
                isinstance(error, Exception) and not isinstance(error, AppTimeout)
            ):
                self._drain(self.settings.app_timeout)
        except AppTimeout:
            if error is None:
                raise
        finally:
            if not self.ended:
                self._runner.cancel()
                # If the application still hasn't ended, it blocks its thread. This is reported when
                # the thread is joined.
                with suppress(AppTimeout):
                    self._drain(min(self.settings.app_timeout, CANCEL_GRACE))
                self.ended = True
        if error is not None and self.app_error is not None:
            error.add_note(f"{self.label}: the application raised {self.app_error!r}")

    def finish(self) -> None:
        """Disconnect, wait until the application has ended, and raise its error."""
        self.leave()
        self.raise_app_error()

    def _drain(self, timeout: float) -> None:
        while not self.ended:
            self.next_event("end after the client had finished", timeout)
