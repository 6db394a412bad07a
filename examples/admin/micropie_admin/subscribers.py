"""The subscribers in this process. Each has a name, which the form that closes it contains.

A name begins with a random token of the process. So if a form is sent to another worker, or after a
restart, it closes nothing.
"""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Iterator
from itertools import count, islice
from threading import Lock
from typing import NamedTuple
from weakref import WeakKeyDictionary

from micropie import App, HTTPError
from micropie.channels import Subscription
from micropie.extensions import Inspector, notify_after_fork

# How many subscribers of a channel are shown at most. A page with 100,000 would be useless.
MOST_SHOWN = 100


class ShownChannel(NamedTuple):
    """A channel, with its first subscribers by their names in forms."""

    name: str
    in_forms: str
    total: int
    subscribers: dict[str, Subscription]


class Subscribers:
    """The subscribers to all channels of a site in this process."""

    def __init__(self) -> None:
        self.after_fork()
        notify_after_fork(self)

    def after_fork(self) -> None:
        """Start without subscribers in a forked process, where the parent's don't exist."""
        self.process = f"{socket.gethostname()}, process {os.getpid()}"
        self._token = secrets.token_hex(4)
        self._numbers: WeakKeyDictionary[Subscription, int] = WeakKeyDictionary()
        self._next = count(1)
        self._lock = Lock()  # the threads of a WSGI server may use this object at the same time

    def channels(self, app: App) -> list[ShownChannel]:
        """Return the channels of the site, by name."""
        return sorted(
            ShownChannel(
                name,
                in_forms,
                len(joined),
                {self._name_of(one): one for one in islice(joined, MOST_SHOWN)},
            )
            for name, in_forms, joined in self._joined(app)
        )

    def close(self, name: str) -> None:
        """Close the subscriber with this name, if it is still there. Raises 409 if it is in another
        process.
        """
        self._refuse_others(name)
        with self._lock:
            found = [one for one, number in self._numbers.items() if self._spelt(number) == name]
        for one in found:
            one.close()

    def close_all(self, app: App, channel: str) -> None:
        """Close all subscribers of a channel. Raises 409 if they are in another process."""
        self._refuse_others(channel)
        for _, in_forms, joined in self._joined(app):
            if in_forms == channel:
                for one in joined:
                    one.close()

    def _joined(self, app: App) -> Iterator[tuple[str, str, list[Subscription]]]:
        """Yield each channel's name, its name in forms, and its subscribers.

        An inner application may have its own ``Channels``, with the same names of channels.
        """
        hubs = dict.fromkeys(one.channels for one in Inspector(app).applications())
        for place, hub in enumerate(hubs):
            for name, joined in hub.subscriptions().items():
                # a channel's name may have characters that a form can't send back
                digits = name.encode("utf-8", "surrogatepass").hex()
                yield name, f"{self._token}-{place}-{digits}", joined

    def _name_of(self, one: Subscription) -> str:
        with self._lock:
            number = self._numbers.get(one)
            if number is None:
                number = self._numbers[one] = next(self._next)
        return self._spelt(number)

    def _spelt(self, number: int) -> str:
        return f"{self._token}-{number}"

    def _refuse_others(self, name: str) -> None:
        if name.partition("-")[0] != self._token:
            raise HTTPError(
                409,
                f"This was answered by {self.process}, which has no such subscriber. "
                "Go back, reload the page until it names the right process, and try again.",
            )
