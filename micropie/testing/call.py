"""One call of the application: a conversation of the test with it, in ASGI's messages under both
protocols.

The application runs in another thread, so that the test can stop waiting for it. Its messages
arrive in the test through a queue, and it waits with a stream's next chunk until the test has taken
the last one: so a test sees a stream as it is produced, and at most one chunk is made ahead of it.
When the application asks for more of the request's body, the chunk is pulled in the test's thread:
a generator of the test runs in the test's own thread, and no third thread can be left behind.
"""

from __future__ import annotations

import queue
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

from micropie.testing.errors import (
    AppTimeout,
    ClientDisconnected,
    ProtocolViolation,
    is_only_disconnect,
)

Message = MutableMapping[str, Any]

# The key of a scope or an environ by which micropie reports the errors that it answers with a 500,
# or only logs.
ON_FAILURE = "micropie.on_failure"

WANTS_BODY: Message = {"type": "the application waits for more of the request's body"}

# Seconds that a cancelled application may take to end. Where cancellation works, it is prompt.
CANCEL_GRACE = 1.0

# A network buffers some messages for a client that does not read. The limit keeps an endless sender
# from filling the memory.
MESSAGES_AHEAD = 64


class ClientSettings(NamedTuple):
    """The settings of the client that every call needs."""

    root_path: str
    client: tuple[str, int] | None
    raise_app_exceptions: bool
    app_timeout: float
    lifespan: bool
    denial_response: bool
    raw_uri: bool
    late: list[BaseException]  # of functions after a response


def checked_headers(message: Message) -> list[tuple[bytes, bytes]]:
    """Return the headers of a head or an accept as a list of pairs.

    Raises ``ProtocolViolation``.
    """
    headers = [(name, value) for name, value in message.get("headers", ())]
    for name, value in headers:
        if not isinstance(name, bytes) or not isinstance(value, bytes):
            raise ProtocolViolation(
                f"{message['type']}: headers are pairs of bytes, not ({name!r}, {value!r})"
            )
    return headers


class Runner(ABC):
    """Runs the application for one call, in another thread.

    It gives the application ``Call.next_message`` and ``Call.sending``, and has it wait until what
    they return is true. It says so by ``Call.waiting``.
    """

    @abstractmethod
    def start(self, call: ClientCall) -> None:
        """Start the application.

        It sets the call's ``error``, and puts None into its ``outbox`` at the end.
        """

    @abstractmethod
    def wake(self) -> None:
        """Have the application look again at what it waits for."""

    @abstractmethod
    def is_current(self) -> bool:
        """Return whether this code runs in the application's own task or thread."""

    def cancel(self) -> None:  # noqa: B027 - not every protocol has a way to do that
        """Stop the application."""


class ClientCall:
    """A call of the application. The test's thread changes the call, then wakes the application."""

    disconnect: Message  # the message that tells the application that the client has left
    body: Iterator[Message]  # of an HTTP request

    def __init__(self, runner: Runner, label: str, settings: ClientSettings) -> None:
        self.label = label
        self.settings = settings
        self.inbox: deque[Message] = deque()  # for the application
        # for the test; None is the end
        self.outbox: queue.SimpleQueue[Message | None] = queue.SimpleQueue()
        self.error: BaseException | None = None
        self.may_ask = False  # whether the test has a message for an application that waits for one
        # which the application gets again whenever the inbox is empty
        self.last_message: Message | None = None
        self.waits: list[str] = []  # in which functions the application waits for the test
        self.hung_up = False
        self.ended = False  # the test has seen the end, or no longer waits for it
        self._runner = runner
        self._sent = 0
        self._taken = 0

    # -- the application's side --------------------------------------------------------------------

    def checked(self, message: Message) -> Message:
        """Return a message of the application for the test.

        Errors are raised at the application's own line.
        """
        return message

    def next_message(self) -> Message | None:
        """Return the next message for the application, None if it has to wait."""
        if self.inbox:
            return self.inbox.popleft()
        if self.last_message is None and self.hung_up:
            self.last_message = self.disconnect
        if self.last_message is not None:
            return dict(self.last_message)
        if self.may_ask:
            self.may_ask = False  # ask once for each chunk, even if this is cancelled
            self.outbox.put(WANTS_BODY)
        return None

    def sending(self, message: Message) -> Callable[[], bool]:
        """Pass on a message of the application to the test.

        Return a function that says whether the application may go on. After a chunk of a stream, it
        may when the test has taken that chunk. Other messages are buffered.
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
        """Note for the block in which function the application waits for the test."""
        self.waits.append(where)
        try:
            yield
        finally:
            self.waits.remove(where)

    def fail(self, error: BaseException) -> None:
        """Note an error of the application, for the test; of several, the first."""
        if self.app_error is None:
            self.error = error

    def report(self, error: BaseException) -> None:
        """Note an error that does not leave the application.

        One of another task or thread than the application's is raised when the client is closed:
        only chance would tell whether the call has ended by then.
        """
        if self._runner.is_current():
            self.fail(error)
        else:
            self.settings.late.append(error)

    def reports(self) -> dict[str, Callable[[BaseException], None]]:
        """Return what the application's scope or environ has for such errors."""
        return {ON_FAILURE: self.report} if self.settings.raise_app_exceptions else {}

    def check_connected(self) -> None:
        """Raise ``ClientDisconnected`` in the application if the client has left."""
        if self.hung_up:
            raise ClientDisconnected(f"{self.label}: the client has disconnected")

    # -- the test's side ---------------------------------------------------------------------------

    def start(self) -> None:
        """Start the application."""
        self._runner.start(self)

    def put(self, message: Message) -> None:
        """Pass on a message to the application."""
        self.inbox.append(message)
        self.wake()

    def hang_up(self) -> None:
        """Disconnect the client: reading then gives a disconnect or an end, writing an error."""
        self.hung_up = True
        self.wake()

    def wake(self) -> None:
        """Have the application look again at what it waits for.

        The application notes in ``waits`` that it waits, and then looks. So it either sees the
        change that was made before this call, or is woken by it.
        """
        if self.waits:
            self._runner.wake()

    @property
    def app_error(self) -> BaseException | None:
        """The application's own error; None if there is none, or if it only says that the client
        has left.
        """
        return None if self.error is None or is_only_disconnect(self.error) else self.error

    def raise_app_error(self) -> None:
        """Raise the application's own error in the test, only once: the test may expect it."""
        error = self.app_error
        if error is not None and self.settings.raise_app_exceptions:
            self.error = None
            raise error

    def next_event(self, what: str, timeout: float | None = None) -> Message | None:
        """Return the application's next message, None at its end.

        Raises ``AppTimeout`` after ``timeout`` seconds.
        """
        timeout = self.settings.app_timeout if timeout is None else timeout
        try:
            event = self.outbox.get(timeout=timeout)
        except queue.Empty:
            waits = " and ".join(self.waits)
            where = f"it waits in {waits}" if waits else "it does not wait for the client"
            message = f"{self.label}: the application did not {what} within {timeout:g} s ({where})"
            raise AppTimeout(message) from None
        self.ended = self.ended or event is None
        return event

    def feed(self) -> None:
        """Pass on the next message of the request's body."""
        message = next(self.body)
        self.may_ask = message.get("more_body", False)
        if "body" in message:
            self.inbox.append(message)
        else:
            self.last_message = message  # the body is broken off
        self.wake()

    def next(self, what: str, timeout: float | None = None) -> Message | None:
        """Return the application's next message, or None when it has ended. Raises its error."""
        while (event := self.next_event(what, timeout)) is WANTS_BODY:
            self.feed()
        if event is None:
            self.raise_app_error()
        self._taken += 1
        self.wake()
        return event

    def leave(self, error: BaseException | None = None) -> None:
        """Disconnect, and wait until the application ends.

        Cancel it and raise ``AppTimeout`` if it doesn't.

        If the test leaves because of an ``error``, that error is on its way to the test. So no
        other one is raised here, and ``error`` gets a note of the application's own.
        """
        self.hang_up()
        try:
            # After a time-out the client has waited already; ``KeyboardInterrupt`` stops the tests.
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
                # An application that has not ended then blocks its thread: the code that joins the
                # thread reports that.
                with suppress(AppTimeout):
                    self._drain(min(self.settings.app_timeout, CANCEL_GRACE))
                self.ended = True
        if error is not None and self.app_error is not None:
            error.add_note(f"{self.label}: the application raised {self.app_error!r}")

    def finish(self) -> None:
        """Disconnect, wait until the application ends, and raise its error."""
        self.leave()
        self.raise_app_error()

    def _drain(self, timeout: float) -> None:
        while not self.ended:
            self.next_event("end after the client was done with it", timeout)
