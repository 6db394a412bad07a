"""The client for a Redis server.

This is the only module that imports redis-py, an optional dependency.
"""

from __future__ import annotations

import hashlib
import os
import re
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import cache, partial
from ipaddress import ip_address
from math import inf
from time import monotonic
from types import FunctionType
from typing import Any, NamedTuple, TypeVar
from urllib.parse import unquote

from micropie._core.errors import SetupError, check_each
from micropie._core.execution.call_steps import CallSteps, Wait, in_this_thread
from micropie._core.execution.steps.outage import ConnectionLost, is_local

try:
    import redis
    from redis.backoff import NoBackoff
    from redis.retry import Retry
    from redis.sentinel import SentinelConnectionPool
except ImportError:  # pragma: no cover - the tests set ``redis`` to None instead
    redis = None  # type: ignore[assignment]

# The options for TCP keep-alive, if this system supports them: seconds of silence before the first
# probe, seconds between two probes, and how many probes may stay unanswered before the connection
# counts as lost.
_KEEPALIVE = {
    getattr(socket, name): value
    for name, value in (("TCP_KEEPIDLE", 15), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 3))
    if hasattr(socket, name)
}

# Seconds after which a Sentinel that doesn't respond is skipped, because another Sentinel can give
# the same information.
_SENTINEL_PATIENCE = 1.0
# Seconds between two queries to the Sentinels, and the maximum number of seconds until the next
# query if no Sentinel responded. The times are short, because the old primary still accepts writes
# for ten seconds after SENTINEL FAILOVER, and these writes are lost.
_BETWEEN_QUESTIONS = 1.0
_AFTER_NO_ANSWER = 5.0

# Seconds within which a server must respond to a probe over a new connection.
_PROBE_PATIENCE = 0.5

# Valkey uses the protocol of Redis, so replace Valkey's URL schemes with those of Redis.
_VALKEY = re.compile(r"^valkey(s?)(?=://|\+sentinel://)")

# Matches a URL with an @ after the first /, # or ?. The host seems to end there, so only the
# beginning of the password would be read.
_LATE_AT = re.compile(r"rediss?(\+sentinel)?://([^/#]*[/#][^?]*@|[^?]*\?[^=]*@)")


class _Limit(threading.local):
    """Until when this thread's calls may wait, by ``monotonic``. After that, they fail if they
    would have to wait.
    """

    ends = inf


_limit = _Limit()


@contextmanager
def _until(ends: float) -> Iterator[None]:
    outer, _limit.ends = _limit.ends, ends
    try:
        yield
    finally:
        _limit.ends = outer


class _LimitedSocket:
    """A socket whose calls end at the thread's limit. A time-out of redis-py is for each of the
    calls, so a server that sends one byte at a time could take any time for a response.
    """

    def __init__(self, connected: socket.socket) -> None:
        self._socket = connected
        self._timeout: float = connected.gettimeout() or 0.0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._socket, name)

    def settimeout(self, seconds: float) -> None:
        """Set the time-out for each call."""
        self._timeout = seconds

    def recv(self, *arguments: object) -> bytes:
        """Receive bytes."""
        return self._within_limit("recv", *arguments)  # type: ignore[no-any-return]

    def recv_into(self, *arguments: object) -> int:
        """Receive bytes. hiredis calls this."""
        return self._within_limit("recv_into", *arguments)  # type: ignore[no-any-return]

    def sendall(self, data: bytes) -> None:
        """Send bytes."""
        self._within_limit("sendall", data)

    def _within_limit(self, name: str, *arguments: object) -> Any:
        self._socket.settimeout(min(self._timeout, max(_limit.ends - monotonic(), 0.0)))
        try:
            return getattr(self._socket, name)(*arguments)
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise TimeoutError from None  # the limit is over


@cache
def _limited(kind: type) -> type:
    """Return redis-py's class of connections ``kind`` with a limit for whole calls, and for looking
    up the host's name.
    """

    class Limited(kind):  # type: ignore[misc]
        @property
        def socket_connect_timeout(self) -> float:
            """The seconds for each of the host's addresses."""
            return min(self._socket_connect_timeout, max(_limit.ends - monotonic(), 0.001))

        @socket_connect_timeout.setter
        def socket_connect_timeout(self, seconds: float) -> None:
            self._socket_connect_timeout = seconds

        def _connect(self) -> _LimitedSocket:
            # After a timeout of a subscription, redis-py connects and subscribes again, and again
            # if that fails.
            if _limit.ends <= monotonic():
                raise TimeoutError
            if getattr(self, "host", None):  # a UNIX socket has none
                _look_up(self.host, self._socket_connect_timeout)
            self.limited_socket = _LimitedSocket(super()._connect())
            return self.limited_socket

    return Limited


def _look_up(host: str, patience: float | None) -> None:
    """Look up a host's name, and wait at most ``patience`` seconds for the result.

    Raises redis-py's ``TimeoutError`` after ``patience`` seconds. The limit needs a thread, because
    the system's resolver may wait longer than ``patience`` for name servers that don't respond. If
    the name doesn't exist, this function raises nothing, because the attempt to connect will raise
    the error.
    """
    with suppress(ValueError):
        ip_address(host)
        return
    is_done = threading.Event()

    def ask() -> None:
        with suppress(OSError):
            socket.getaddrinfo(host, None)
        is_done.set()

    try:
        threading.Thread(target=ask, name=f"micropie looks up {host}", daemon=True).start()
    except RuntimeError:  # the system starts no more threads: connect without this limit
        return
    if not is_done.wait(min(patience or inf, max(_limit.ends - monotonic(), 0))):
        raise redis.TimeoutError(f"no DNS server has responded for {host!r}")


class _Primary(NamedTuple):
    """The parts of a URL with Sentinels: the primary's name, the Sentinels' addresses and options,
    and the primary's options.
    """

    name: str
    sentinels: list[tuple[str, int]]
    sentinel_options: dict[str, object]
    options: dict[str, object]


def _primary(url: str) -> _Primary | None:
    """Parse a URL with Sentinels. Return None if the URL has no Sentinels.

    Raises ``ValueError``, ``AttributeError``, ``TypeError`` or ``KeyError`` for a malformed URL.
    """
    if _LATE_AT.match(url):
        raise ValueError
    scheme, has_sentinels, rest = url.partition("+sentinel://")
    parse: Any = redis.connection.parse_url
    if not has_sentinels:
        # This raises ``UnicodeError``, a ``ValueError``, if the host can't be a name in the DNS.
        parse(url).get("host", "").encode("idna")
        return None
    place, _, query = rest.partition("?")
    user, at, place = place.rpartition("@")
    hosts, _, path = place.partition("/")
    name, _, database = path.partition("/")
    if scheme not in ("redis", "rediss") or not name or not (database or "0").isdecimal():
        raise ValueError
    options = parse(f"{scheme}://{user}{at}primary/{database}?{query}")
    del options["host"]
    options["ssl"] = options.pop("connection_class", None) is not None
    sentinel_options = {key: options[key] for key in options if key.startswith("ssl")}
    for key in ("username", "password"):
        sentinel_options[key] = options.pop(f"sentinel_{key}", None)
    parts = [parse(f"redis://{host}") for host in hosts.split(",")]
    sentinels = [(part["host"], part.get("port", 26379)) for part in parts]
    for host, _ in sentinels:
        host.encode("idna")
    return _Primary(unquote(name), sentinels, sentinel_options, options)


class _Silence(str):
    """The reason why the primary isn't known, if no Sentinel has responded at all."""

    __slots__ = ()


class _Sentinels:
    """The Sentinels that know a primary's address. Replaces redis-py's own class.

    In some versions of redis-py, that class includes passwords in its errors, and loses a Sentinel
    if several threads use it at the same time. Each query opens a new connection, because queries
    are rare, and a firewall would drop an idle connection. The result of a query is reused for a
    second, and longer if no Sentinel responds. A failure is also reused for a second, and longer if
    the query took long.
    """

    def __init__(self, primary: _Primary, defaults: dict[str, Any]) -> None:
        # All Sentinels together get as much time to respond as the Redis server alone.
        patience = min(defaults["socket_timeout"] / len(primary.sentinels), _SENTINEL_PATIENCE)
        timeouts = {"socket_timeout": patience, "socket_connect_timeout": patience}
        self._options = {**defaults, **primary.sentinel_options, **timeouts}
        self._addresses = primary.sentinels
        self._lock = threading.Lock()  # held by the thread that queries the Sentinels
        self._next_question = 0.0
        # The primary's address, or the reason why it isn't known.
        self._found: tuple[str, int] | str = ""

    def discover_master(self, service_name: str) -> tuple[str, int]:
        """Return the primary's host and port. redis-py calls this for each new connection.

        Raises redis-py's ``ConnectionError`` if no Sentinel reports a primary that is up, or if no
        Sentinel has responded yet.
        """
        # If there is an earlier result, only one thread queries the Sentinels again, and the other
        # threads use the earlier result.
        if monotonic() >= self._next_question and self._lock.acquire(blocking=not self._found):
            try:
                began = monotonic()
                if began >= self._next_question:
                    found = self._ask(service_name)
                    if not isinstance(found, _Silence) or isinstance(self._found, str):
                        self._found = found
                    now, pause = monotonic(), _BETWEEN_QUESTIONS
                    if isinstance(found, str):
                        pause = min(max(pause, 4 * (now - began)), _AFTER_NO_ANSWER)
                    self._next_question = now + pause
            finally:
                self._lock.release()
        found = self._found  # read ``_found`` only once, because another thread may change it
        if isinstance(found, str):
            raise redis.ConnectionError(found)
        return found

    def _ask(self, service_name: str) -> tuple[str, int] | str:
        reasons = []
        kind: type[str] = _Silence
        for address in self._addresses:
            host, port = address
            client: Any = redis.Redis(host, port, **self._options)
            pool = client.connection_pool
            pool.connection_class = _limited(pool.connection_class)
            patience: float = self._options["socket_timeout"]
            try:
                with RedisClient.within(patience), client:
                    state = client.sentinel_masters().get(service_name)
            except redis.RedisError as error:
                if is_local(error):
                    raise
                reasons.append(f"{host}:{port}: {error}")
                continue
            kind = str
            if state is None:
                reasons.append(f"{host}:{port} does not know this name")
            elif state["is_sdown"] or state["is_odown"] or not state["is_master"]:
                reasons.append(f"{host}:{port} reports that the primary is down")
            else:
                # Query this Sentinel first the next time.
                self._addresses = [address, *(one for one in self._addresses if one != address)]
                return state["ip"], state["port"]
        return kind(
            f"no Sentinel gave a usable address for the primary {service_name!r}: "
            f"{'; '.join(reasons)}"
        )


_NONE_YET = object()
Result = TypeVar("Result")


def _is_traced() -> bool:
    """Return whether a library, such as OpenTelemetry's or Sentry's, has wrapped the method of
    redis-py's client, so that commands must go through it.
    """
    function = redis.Redis.execute_command
    own = redis.client.__file__
    return type(function) is not FunctionType or function.__code__.co_filename != own


def _by(ends: float, function: Callable[..., Result], *arguments: object) -> Result:
    """Call a function that may wait until ``ends``, by ``monotonic``, and return its result."""
    with _until(min(_limit.ends, ends)):
        return function(*arguments)


def _read(connection: Any, seconds: float) -> object:
    """Return the response that comes over a connection, or ``_NONE_YET``.

    Raises redis-py's ``TimeoutError`` after ``seconds``, unless ``seconds`` is 0.
    """
    read = partial(connection.read_response, disconnect_on_error=False)
    try:
        response: object = _by(monotonic() + seconds, read)
    except redis.TimeoutError:
        if seconds:
            raise
        return _NONE_YET
    return response


class RedisClient:
    """The client for a Redis server. Each process connects when it first needs the server.

    - ``owner``: the name of the feature that uses the client, for errors.
    - ``url``: the server's URL, such as ``redis://localhost:6379/0``, or a URL that lists the
      Sentinels that know the primary, such as ``redis+sentinel://one:26379,two:26379/mymaster/0``.
      The schemes ``valkey`` and ``valkeys`` mean the same as ``redis`` and ``rediss``.
    - ``patience``: seconds after which a call that isn't complete counts as failed, and the server
      as unavailable.
    - ``prefix``: the prefix of the owner's keys. This class only checks that it is a string.

    In a URL with Sentinels, the user and the password are for Redis. ``?sentinel_username=`` and
    ``sentinel_password=`` are for the Sentinels. ``rediss+sentinel`` uses TLS for both. Each new
    connection goes to the primary that the Sentinels last reported. The Sentinels are queried at
    most once a second.

    Raises ``SetupError`` for a malformed URL, for a ``prefix`` that is not a string, and if
    redis-py is not installed.
    """

    def __init__(self, owner: str, url: str, patience: float, prefix: str = "") -> None:
        if redis is None:
            raise SetupError(f'{owner} needs redis: pip install "micropie-dual[redis]"')
        try:
            url = _VALKEY.sub(r"redis\1", url)
            self._primary = _primary(url)
        except (ValueError, AttributeError, TypeError, KeyError):
            # Leave out the reason, because it may contain a part of the password.
            raise SetupError(
                f"{owner} takes a URL such as redis://localhost:6379/0 or "
                "redis+sentinel://one:26379,two:26379/mymaster/0; in a password, write %2F for "
                "/, %23 for # and %3F for ?"
            ) from None
        check_each(owner, str, "a string", prefix=prefix)
        self._owner = owner
        self.url = url
        self._patience = patience
        self._clients: dict[int, Any] = {}  # by process id; a process uses only its own client
        self._left_open: dict[int, list[Any]] = {}

    @staticmethod
    def within(seconds: float) -> AbstractContextManager[None]:
        """Return a context manager in which all calls of this thread to Redis take at most
        ``seconds`` together. Such a limit can't extend that of an outer one.
        """
        return _until(min(_limit.ends, monotonic() + seconds))

    @contextmanager
    def reached(self, patience: float | None = None) -> Iterator[Any]:
        """Return a context manager that provides redis-py's client. All calls in it take at most
        ``patience`` seconds together, by default the client's.

        redis-py's errors are not ``OSError``, so they are converted to ``ConnectionError``. After
        an error, the idle connections are closed, because a firewall may have dropped all of them,
        or their server may have become a replica. After a timeout, ``ConnectionLost`` is raised if
        the server responds over a new connection.
        """
        try:
            with self.within(self._patience if patience is None else patience):
                if self._primary is not None:
                    self.place()
                self._release_idle()  # the URL may limit the pool's connections
                yield self._client()
        except (redis.RedisError, ConnectionError) as error:
            raise self._kind_after(type(error))(self._message(error)) from error

    def _message(self, error: Exception) -> str:
        return f"the Redis of {self._owner} is unavailable: {error}"

    def _kind_after(self, error: type[Exception]) -> type[ConnectionError]:
        """Close all idle connections after an error of this class, and return the class of the
        error to raise instead.
        """
        self.close()
        is_lost = issubclass(error, redis.TimeoutError) and self.responds()
        return ConnectionLost if is_lost else ConnectionError

    def ask(self, ends: float, *command: str | int) -> CallSteps[Any]:
        """Send a command to the server, and return the response. This is a generator; see
        ``CallSteps``. On an event loop, it needs a thread only to connect, and after an error.

        - ``ends``: until when it may take, by ``time.monotonic``.

        Raises the errors of ``reached``, and redis-py's ``NoScriptError``. When the generator is
        closed, the connection is, too, because the response may still come.
        """
        client, connection, response = self._client(), None, _NONE_YET
        try:
            if _is_traced():
                response = yield partial(_by, ends, client.execute_command, *command)
                return response
            connection = self._open_connection()
            if connection is None:
                if self._primary is not None:
                    yield partial(_by, ends, self.place)
                connection = yield partial(_by, ends, client.connection_pool.get_connection)
            try:
                _by(0.0, connection.send_command, *command)
            except redis.TimeoutError:  # too long for the system's buffer, so it was closed
                yield partial(_by, ends, connection.send_command, *command)
            read, descriptor = partial(_read, connection), connection.limited_socket.fileno()
            while response is _NONE_YET:
                left = ends - monotonic()
                if left <= 0:
                    raise redis.TimeoutError("the response takes too long")
                response = yield Wait(read, descriptor, left)
        except redis.exceptions.NoScriptError:
            response = None
            raise
        except (redis.RedisError, ConnectionError) as error:
            kind = yield partial(self._kind_after, type(error))
            raise kind(self._message(error)) from error
        finally:
            if connection is not None:
                self._leave(connection, is_usable=response is not _NONE_YET)
        return response

    def _idle(self) -> list[Any]:
        """Return this process's connections that ``ask`` has left open."""
        return self._left_open.setdefault(os.getpid(), [])

    def _open_connection(self) -> Any:
        """Return a connection that ``ask`` has left open, or None if there is none."""
        with suppress(IndexError):
            while True:
                connection = self._idle().pop()
                with suppress(redis.RedisError):  # the server has closed it
                    if not connection.can_read():
                        return connection
                self._leave(connection, is_usable=False)
        return None

    def _leave(self, connection: Any, *, is_usable: bool) -> None:
        if is_usable and self._primary is None:
            self._idle().append(connection)
            return
        if not is_usable:
            connection.disconnect()
        self._client().connection_pool.release(connection)

    def _release_idle(self) -> None:
        """Give the connections that ``ask`` has left open back to the pool."""
        with suppress(IndexError):
            while True:
                self._client().connection_pool.release(self._idle().pop())

    def responds(self) -> bool:
        """Return whether the server responds over a new connection within half a second."""
        pool = self._client().connection_pool
        timeouts = dict.fromkeys(("socket_timeout", "socket_connect_timeout"), _PROBE_PATIENCE)
        connection = pool.connection_class(**{**pool.connection_kwargs, **timeouts})
        try:
            with _until(monotonic() + _PROBE_PATIENCE):
                connection.connect()
                connection.send_command("PING")
                return bool(connection.read_response() == "PONG")
        except redis.RedisError:
            return False
        finally:
            connection.disconnect()

    def run(self, script: str, keys: Sequence[str], *arguments: str | int) -> Any:
        """Run the Lua ``script`` on the server, and return its result. ``keys`` and ``arguments``
        are its KEYS and ARGV. Raises ``ConnectionError`` if the call fails.
        """
        steps = self.run_steps(monotonic() + self._patience, script, keys, *arguments)
        return in_this_thread(steps)

    def run_steps(
        self, ends: float, script: str, keys: Sequence[str], *arguments: str | int
    ) -> CallSteps[Any]:
        """Run the Lua ``script`` as ``run`` does, with the same ``keys`` and ``arguments``, in
        steps and until ``ends``; see ``ask``.

        Only the script's digest is sent at first. If the server doesn't know the digest, because it
        was restarted or was a replica, the script itself is sent.
        """
        digest = hashlib.sha1(script.encode(), usedforsecurity=False).hexdigest()
        given = len(keys), *keys, *arguments
        try:
            return (yield from self.ask(ends, "EVALSHA", digest, *given))
        except redis.exceptions.NoScriptError:
            return (yield from self.ask(ends, "EVAL", script, *given))

    def place(self) -> tuple[str, int] | None:
        """Return the primary's host and port that the Sentinels report, or None if the URL has no
        Sentinels.

        The Sentinels are queried at most once a second. If none responds, the last result is used.
        """
        if self._primary is None:
            return None
        pool = self._client().connection_pool
        with suppress(redis.RedisError):
            pool.get_master_address()  # this also closes connections to a former primary
        address: tuple[str, int] | None = pool.master_address
        return address

    def ping(self) -> None:
        """Check that the server responds. Raises ``ConnectionError`` if it doesn't."""
        with self.reached() as client:
            client.ping()

    def close(self) -> None:
        """Close the idle connections of this process. The next use opens new ones."""
        # Not those in use: an event loop may wait for their sockets. If another file gets the same
        # descriptor, the loop would take one for the other.
        self._release_idle()
        self._client().connection_pool.disconnect(inuse_connections=False)

    def _client(self) -> Any:
        process = os.getpid()
        client = self._clients.get(process)
        # Never use a parent process's client, because the two processes would read each other's
        # responses.
        if client is None:
            defaults: dict[str, Any] = {
                "socket_timeout": self._patience,
                "socket_connect_timeout": self._patience,
                # redis-py must not retry: the server would run the command twice if the response to
                # the first try was lost.
                "retry": Retry(NoBackoff(), 0),
                "decode_responses": True,
                # With any other protocol version, a new connection needs four round trips before
                # its first command.
                "protocol": 2,
                "driver_info": None,  # don't send the name of the library to the server
                # Accept any bytes, because an invalid value from another program must not break a
                # connection that serves many channels.
                "encoding_errors": "surrogateescape",
            }
            if not self.url.startswith("unix:"):
                # Use TCP keep-alive, because firewalls drop connections that are silent for some
                # minutes.
                defaults |= {"socket_keepalive": True, "socket_keepalive_options": _KEEPALIVE}
            if self._primary is None:
                client = redis.Redis.from_url(self.url, **defaults)
            else:
                make_pool: Any = SentinelConnectionPool
                sentinels = _Sentinels(self._primary, defaults)
                options = {**defaults, **self._primary.options}
                client = redis.Redis.from_pool(make_pool(self._primary.name, sentinels, **options))
            pool = client.connection_pool
            pool.connection_class = _limited(pool.connection_class)
            # If several threads create a client at the same time, all of them use the first one.
            client = self._clients.setdefault(process, client)
            self._clients = {process: client}
        return client
