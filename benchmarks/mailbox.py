"""A stand-in for a mail server: functions that run after a response call it, and the harness waits
for them.
"""

from __future__ import annotations

import threading


class Mailbox:
    """Counts letters.

    ``wait_for`` blocks until so many have been sent; it is for worlds without an event loop.
    """

    def __init__(self) -> None:
        self.sent = 0
        self._change = threading.Condition()

    def send(self, address: str) -> None:
        with self._change:
            self.sent += 1
            self._change.notify_all()

    def wait_for(self, count: int, seconds: float) -> None:
        with self._change:
            if not self._change.wait_for(lambda: self.sent >= count, seconds):
                raise TimeoutError(f"{self.sent} letters instead of {count}")


mailbox = Mailbox()
