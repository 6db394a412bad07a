"""Channels through a Redis server, for several workers and machines.

A process has two connections, each with its own thread: the publisher sends messages, and the
listener is subscribed to every channel that has a subscriber in this process. The connections and
threads are created when they are first needed. A connection may be used only by its own thread. So
to subscribe, another thread records the channels, and wakes the listener with a message on a
control channel, to which only this listener is subscribed.
"""

from __future__ import annotations

import math
import random
import threading
import time
from collections import Counter, deque
from collections.abc import Awaitable, Iterable, KeysView, Sequence
from concurrent import futures
from contextlib import closing
from contextvars import Context
from functools import lru_cache, partial
from queue import SimpleQueue
from typing import Any, cast
from uuid import uuid4

from micropie.channels.hub import PAUSE, Channels, Subscription, checked_name
from micropie.channels.mailbox import GROWTH, Future, Mailbox, logger
from micropie.extensions import Outage, RedisClient, dumps, is_on_loop, loads

# Seconds after which a server that does not respond counts as unavailable.
TIMEOUT = 5.0
# Seconds without a message after which the listener pings the server. If the address now belongs to
# another server, that server closes the connection when it gets the ping.
SILENCE = 2.5
# Seconds within which Redis has to respond to a ping.
ANSWER_WITHIN = 10.0
# While the listener waits for the response to a ping, it opens a second connection at this
# interval, in seconds. If the second connection gets a response, the host name now points to
# another server.
_BETWEEN_LOOKS = 0.5
# The shortest and the longest time in seconds between two attempts to connect.
PAUSES = (0.05, 3.0)
# How many messages may wait to be sent; further ones fail. A busy process publishes about this
# number of messages in a second.
MOST_WAITING = 10_000
# How many messages are sent in one batch at most.
BATCH = 500
# Seconds for which ``close`` waits for the threads to end.
CLOSE_WITHIN = 2.0


class RedisChannels(Channels):
    """Channels through the Redis server at ``url``, such as ``redis://localhost:6379/0``:
    ``App(channels=RedisChannels(url))``. With Sentinels, use a URL such as
    ``redis+sentinel://one:26379,two:26379/mymaster/0``.

    In Redis, the names of channels begin with ``prefix``. Give each application on a server its
    own, because a channel belongs to all of the server's databases. ``publish`` returns when Redis
    has received the message, and never sends a message again, because the message might then arrive
    twice. If Redis is unavailable, publishing a message and beginning a subscription raise
    ``ChannelsUnreachable``, a ``ConnectionError``. If a handler doesn't catch it, the client gets a
    503. If the connection is lost during a subscription, it is opened again, and the subscription's
    ``gaps`` counts the loss.
    """

    def __init__(self, url: str, prefix: str = "channel:") -> None:
        self._client = RedisClient("RedisChannels", url, TIMEOUT, prefix)
        self._prefix = prefix
        super().__init__()

    def after_fork(self) -> None:
        """See ``Channels``."""
        super().after_fork()
        self._publisher: _Publisher | None = None
        self._listener: _Listener | None = None
        self._since_pause = 0  # how many messages the listener has delivered

    def publish(self, channel: str, message: object) -> Awaitable[None]:
        """See ``Channels``.

        Raises ``ChannelsUnreachable`` if Redis is unavailable; on an event loop, ``await`` raises
        it.
        """
        future = self.send(self._prefix + checked_name(channel), dumps(message), MOST_WAITING)
        if is_on_loop():
            future.then = self.give_time
            return future
        future.block()
        return self.give_time()

    def close(self) -> None:
        """End every subscription in this process, and close the connections.

        The next use opens new connections.
        """
        super().close()
        with self._lock:
            # Close the listener first, because the publisher has to send the message that wakes the
            # listener. If there is no publisher, ``wake`` creates one.
            if self._listener is not None:
                self._listener.close()
            if self._publisher is not None:
                self._publisher.close()
            threads = self._listener, self._publisher
            self._listener = self._publisher = None
        for thread in filter(None, threads):
            thread.join(CLOSE_WITHIN)
        self._client.close()

    def ping(self) -> None:
        """Raise ``ConnectionError`` if Redis is unavailable. ``App.health`` calls this."""
        self._client.ping()

    def join(self, mailbox: Mailbox, subscription: Subscription) -> Future | None:
        """See ``Channels``."""
        with self._lock:
            super().join(mailbox, subscription)
            if self._listener is None:
                self._listener = _Listener(self)
            return self._listener.want(subscription.channels)

    def leave(self, mailbox: Mailbox, names: Sequence[str]) -> None:
        """See ``Channels``."""
        with self._lock:
            super().leave(mailbox, names)
            unused = [name for name in names if name not in self._mailboxes]
            if self._listener is not None and unused:
                self._listener.wake(unused)

    # -- for the listener --------------------------------------------------------------------------

    def send(self, name: str, message: bytes, most_waiting: float = math.inf) -> Future:
        """Send a message to a channel in Redis.

        The future fails if ``most_waiting`` messages are already waiting to be sent.
        """
        with self._lock:
            if self._publisher is None:
                self._publisher = _Publisher(self._client)
            return self._publisher.submit(name, message, most_waiting)

    def receive(self, name: str, document: str) -> None:
        """Deliver a message from Redis.

        A message that is not JSON comes from another program. It is counted as dropped, and
        subscriptions continue.
        """
        try:
            loads(document)
        except ValueError as error:
            _warn_once(name, str(error))
            with self._lock:
                for mailbox in self._mailboxes.get(name, ()):
                    mailbox.skip()
        else:
            self._since_pause += 1
            if self.deliver(name, document) and self._since_pause >= GROWTH:
                # Pause once for all queues. Wait no longer for one, because the others would, too.
                self._since_pause = 0
                time.sleep(PAUSE)

    def wanted(self) -> KeysView[str]:
        """Return a view of the names of the channels that have subscribers in this process."""
        return self._mailboxes.keys()

    def lost(self, names: set[str], reason: str) -> None:
        """Record for the subscribers of these channels that messages may have been lost."""
        with self._lock:
            mailboxes = {mailbox for name in names for mailbox in self._mailboxes.get(name, ())}
        for mailbox in mailboxes:
            mailbox.gap(reason)


@lru_cache(maxsize=64)
def _warn_once(name: str, problem: str) -> None:
    logger.warning("a message on channel %r can't be decoded and was skipped: %s", name, problem)


class _Publisher(threading.Thread):
    """A thread that sends messages in order. Messages that are waiting are sent in one batch.

    Call its methods only while holding the hub's lock.
    """

    def __init__(self, client: RedisClient) -> None:
        super().__init__(name="micropie-channels-publisher", daemon=True)
        self._client = client
        self._waiting: SimpleQueue[tuple[str, bytes, Future] | None] = SimpleQueue()
        self._outage = Outage("RedisChannels: Redis", ", so messages are not published")
        Context().run(self.start)  # in an empty context, because it outlives the current request

    def submit(self, name: str, message: bytes, most_waiting: float) -> Future:
        """Queue a message, and return a future that is done once the message has been sent.

        The future fails during an outage, and if ``most_waiting`` messages are already waiting.
        """
        future = Future(f"a message to {name!r} was not published")
        if self._outage.lasts():
            future.settle("Redis is unavailable")
        elif self._waiting.qsize() < most_waiting:
            self._waiting.put((name, message, future))
        else:
            future.settle(f"{most_waiting} messages are already waiting to be sent to Redis")
        return future

    def close(self) -> None:
        """End the thread once the waiting messages have been sent."""
        self._waiting.put(None)

    def run(self) -> None:
        """Send messages until ``close``. Only the thread itself runs this method."""
        batch = []
        for item in iter(self._waiting.get, None):
            batch.append(item)
            if len(batch) == BATCH or self._waiting.empty():
                self._send(batch)
                batch = []
        if batch:
            self._send(batch)

    def _send(self, batch: list[tuple[str, bytes, Future]]) -> None:
        try:
            results = self._outage.call(partial(self._publish, batch))
        except Exception as error:
            results = [error] * len(batch)
        for (_, _, future), result in zip(batch, results, strict=True):
            future.settle(str(result) if isinstance(result, Exception) else "")

    def _publish(self, batch: list[tuple[str, bytes, Future]]) -> list[object]:
        with self._client.reached() as client:
            pipeline = client.pipeline(transaction=False)
            for name, message, _ in batch:
                pipeline.publish(name, message)
            # Send ROLE last: if the server is still the primary then, it was the primary when it
            # got the messages.
            pipeline.role()
            results: list[object] = pipeline.execute(raise_on_error=False)
            role = results.pop()
            # Fail on a replica, which passes messages only to its own subscribers. Some servers
            # don't allow the command ROLE.
            if isinstance(role, list) and role[0] != "master":
                raise ConnectionError("this Redis server is no longer the primary, but a replica")
        return results


class _Listener(threading.Thread):
    """A thread that receives messages.

    Several threads use its state, so hold the hub's lock to read or change it. A process may have
    thousands of channels, and all their subscribers may come at once, after a restart. So nothing
    that is done for a message, a confirmation or a subscriber looks at all channels or subscribers.
    """

    def __init__(self, hub: RedisChannels) -> None:
        super().__init__(name="micropie-channels-listener", daemon=True)
        self._hub = hub
        self._prefix = hub._prefix
        # with the prefix, because an ACL may allow only the channels that begin with it
        self._control = f"{self._prefix}micropie-listener:{uuid4()}"
        self._lock = hub._lock
        self._has_news = threading.Event()
        self._is_closed = False
        # For each channel, the futures that wait for Redis's confirmation, each with all channels
        # for which it waits.
        self._joining: dict[str, list[tuple[Future, set[str]]]] = {}
        # These futures in the order in which they give up. Some may be done.
        self._ending: deque[Future] = deque()
        self._reset_connection()
        Context().run(self.start)  # as in ``_Publisher``

    def _reset_connection(self) -> None:
        self._is_connected = False
        # The channels that this connection has requested from Redis.
        self._requested: set[str] = set()
        # The channels that got or lost subscribers since these requests.
        self._changed: set[str] = set()
        # For each channel, how many of these requests Redis has not confirmed.
        self._unconfirmed: Counter[str] = Counter()

    # -- for other threads -------------------------------------------------------------------------

    def want(self, names: Sequence[str]) -> Future | None:
        """Subscribe to these channels. Return a future for Redis's confirmation, or None if all are
        confirmed.
        """
        missing = {
            name for name in names if name not in self._requested or name in self._unconfirmed
        }
        if not missing:
            return None
        future = Future(f"can't subscribe to {', '.join(sorted(missing))}")
        for name in missing:
            self._joining.setdefault(name, []).append((future, missing))
        self._ending.append(future)
        future.ends = time.monotonic() + TIMEOUT
        self.wake(missing)
        return future

    def wake(self, changed: Iterable[str] = ()) -> None:
        """Make the thread request these channels from Redis, or unsubscribe from them."""
        self._changed.update(changed)
        self._has_news.set()
        if self._is_connected:
            self._hub.send(self._control, b"").add_done_callback(self._after_wake)

    def _after_wake(self, sent: futures.Future[str]) -> None:
        # Fail the waiting subscriptions now, because the listener's thread notices the failure only
        # later.
        if failure := cast(Future, sent).failure():
            with self._lock:
                self._fail_joining(failure)

    def close(self) -> None:
        """End the thread."""
        self._is_closed = True
        self.wake()

    # -- the thread --------------------------------------------------------------------------------

    def run(self) -> None:
        """Receive messages until ``close``. If the connection is lost, connect again."""
        shortest, longest = PAUSES
        pause = shortest
        while not self._is_closed:
            self._has_news.clear()
            reason = ""
            try:
                self._listen()
            except Exception as error:
                reason = str(error)
            if self._is_connected:
                if reason:
                    logger.warning(
                        "RedisChannels lost its connection, so messages may be lost: %s", reason
                    )
                pause = shortest
            else:
                if reason and pause == shortest:  # this was the first failed attempt
                    logger.error("RedisChannels can't subscribe: %s", reason)
                pause = min(2 * pause, longest)
            with self._lock:
                confirmed = self._requested - self._unconfirmed.keys()
                self._reset_connection()
                self._fail_joining(reason)
            self._hub.lost(confirmed, "the connection to Redis was lost")
            # The pause is random, so that not all processes connect at the same moment. Without
            # subscribers, wait for the first subscriber.
            seconds = pause * random.uniform(0.5, 1) if self._hub.wanted() else None  # noqa: S311 - not a secret
            if not self._is_closed:
                self._has_news.wait(seconds)

    def _fail_joining(self, reason: str) -> None:
        self._joining.clear()
        while self._ending:
            self._ending.popleft().settle(reason)

    def _listen(self) -> None:
        client = self._hub._client
        with client.reached(math.inf) as server, closing(server.pubsub()) as connection:
            with client.within(TIMEOUT):
                connection.subscribe(self._control)
            # The time of an unanswered ping (0.0 without one), and whether a second connection got
            # a response.
            asked_at, answers = 0.0, False
            while not self._is_closed:
                with client.within(self._patience()):
                    message = connection.get_message(
                        timeout=_BETWEEN_LOOKS if asked_at else SILENCE
                    )
                if message is not None:
                    asked_at, answers = 0.0, False
                    self._receive(connection, message)
                elif not asked_at:
                    asked_at = time.monotonic()
                    connection.ping()
                elif answers or time.monotonic() - asked_at > ANSWER_WITHIN:
                    seconds = SILENCE + time.monotonic() - asked_at
                    raise ConnectionError(f"Redis has sent nothing for {seconds:.1f} s")
                else:
                    answers = client.responds()
                place = client.place()
                if place and place != (connection.connection.host, connection.connection.port):
                    raise ConnectionError("another Redis server is the primary now")

    def _patience(self) -> float:
        """Fail the subscriptions that have waited too long for a confirmation. Return for how many
        seconds the others may still wait.
        """
        now = time.monotonic()
        with self._lock:
            while self._ending and (self._ending[0].done() or self._ending[0].ends <= now):
                future = self._ending.popleft()
                future.settle(f"Redis is unavailable: no confirmation within {TIMEOUT} s")
            return self._ending[0].ends - now if self._ending else math.inf

    def _receive(self, connection: Any, message: dict[str, Any]) -> None:
        kind, channel = message["type"], message["channel"]
        if channel == self._control:
            self._request_channels(connection)
        elif kind == "message":
            self._hub.receive(channel.removeprefix(self._prefix), message["data"])
        elif kind == "subscribe":
            self._confirm(channel.removeprefix(self._prefix))

    def _request_channels(self, connection: Any) -> None:
        """Subscribe to new channels, and unsubscribe from those without subscribers."""
        with self._lock:
            wanted = self._hub.wanted()
            unused = {name for name in self._changed if name not in wanted}
            for name in unused:  # whoever has waited for it has left
                self._joining.pop(name, None)
            changed = self._changed if self._is_connected else wanted
            new = {name for name in changed if name in wanted and name not in self._requested}
            old = unused & self._requested
            self._is_connected, self._changed = True, set()
            self._requested |= new
            self._requested -= old
            self._unconfirmed.update(new)
        if new:
            connection.subscribe(*(self._prefix + name for name in new))
        if old:
            connection.unsubscribe(*(self._prefix + name for name in old))

    def _confirm(self, name: str) -> None:
        with self._lock:
            self._unconfirmed[name] -= 1
            if not self._unconfirmed[name]:  # otherwise a later request is still unconfirmed
                del self._unconfirmed[name]
                for future, missing in self._joining.pop(name, ()):
                    missing.discard(name)
                    if not missing:
                        future.settle()
