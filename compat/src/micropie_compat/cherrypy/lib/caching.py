"""The tool ``caching``: caches responses in memory, by URL and by the request headers listed in the
response's Vary.
"""

from __future__ import annotations

import math
import sys
import threading
import time
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple, TypeAlias

from micropie_compat.cherrypy.errors import HTTPError
from micropie_compat.cherrypy.lib import cptools
from micropie_compat.cherrypy.lib.httputil import HeaderMap, valid_status
from micropie_compat.cherrypy.serving import serving
from micropie_compat.cherrypy.types import Section
from micropie_compat.cherrypy.urls import Place, place
from micropie_compat.overrides import Overridable
from micropie_compat.results import Chunks

expires = cptools.expires

Variant: TypeAlias = tuple[str | None, HeaderMap, bytes, float]
"""A response: (status, headers, body, time of creation in seconds since 1970)."""


# The parts of a response's URL, and the names and values of the request headers that the response
# depends on. The paths are unescaped, so joining the parts could give two pages the same key:
# "/page%3Fa" and "/page?a". The headers' names are included because two responses for one URL may
# depend on different headers.
_Key: TypeAlias = tuple[Place | None, tuple[tuple[str, str | None], ...]]

# Responses with longer keys aren't cached, because ``maxsize`` counts only the bodies.
_LONGEST_KEY = 8000


class Cache:
    """The interface that a class for the option ``tools.caching.cache_class`` must have.

    All methods except ``clear`` apply to the URL of the current request.
    """

    delay: float = 600
    maxobj_size: float = math.inf
    """The maximum length in bytes of a body for which ``put`` is called."""

    def get(self) -> Variant | None:
        """Return the cached response for the current request, or None."""
        raise NotImplementedError

    def put(self, variant: Variant, size: int) -> None:
        """Cache a response. ``size`` is the length of its body in bytes."""
        raise NotImplementedError

    def delete(self) -> None:
        """Remove all responses for the current request's URL."""
        raise NotImplementedError

    def clear(self) -> None:
        """Remove all responses."""
        raise NotImplementedError

    def release(self) -> None:
        """Wake the requests that wait for the current request's response. Called when the current
        request ends.
        """


class _Entry(NamedTuple):
    variant: Variant
    size: int
    until: float


class MemoryCache(Cache, metaclass=Overridable):
    """A cache in this process's memory. Its attributes are the tool's options.

    ``maxobjects``: the maximum number of responses.
    ``maxsize``: the maximum size in bytes of all bodies together. If it or ``maxobjects`` is
        exceeded, the least recently used responses are removed.
    ``maxobj_size``: the maximum size of one body in bytes.
    ``delay``: how many seconds a response is cached.
    ``antistampede_timeout``: how many seconds a request waits for the response to an earlier
        request for the same URL. None or 0 means that it doesn't wait.
    """

    uncalled = ("expire_cache",)

    maxobjects = 1000
    maxobj_size = 100_000
    maxsize = 10_000_000
    antistampede_timeout: float | None = 5

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.clear()

    def clear(self) -> None:
        """Remove all responses."""
        with self._lock:
            self._entries: OrderedDict[_Key, _Entry] = OrderedDict()
            self._varies: dict[Place | None, Sequence[str]] = {}
            self._pending: dict[_Key, threading.Event] = {}
            self.cursize = 0

    def _key(self) -> _Key:
        """Return the key for the current request: the URL, and the values of some of the request's
        headers. These are the headers that the last response for this URL listed in Vary.
        """
        address, headers = place(), serving.request.headers
        return address, tuple((name, headers.get(name)) for name in self._varies.get(address, ()))

    def get(self) -> Variant | None:
        """Return the cached response for the current request. If another request is computing this
        response now, wait for it.
        """
        event = None
        with self._lock:
            key = self._key()
            found = self._found(key)
            if found is None and self.antistampede_timeout:
                event = self._pending.get(key)
                if event is None:
                    self._pending[key] = serving.request._cache_event = threading.Event()
        if event is not None:
            event.wait(self.antistampede_timeout)
            with self._lock:
                found = self._found(self._key())
        return None if found is None else found.variant

    def _found(self, key: _Key) -> _Entry | None:
        entry = self._entries.get(key)
        if entry is not None and entry.until <= time.time():
            self._forget(key)
            self._varies.pop(key[0], None)
            return None
        if entry is not None:
            self._entries.move_to_end(key)
        return entry

    def _forget(self, key: _Key) -> None:
        entry = self._entries.pop(key, None)
        if entry is not None:
            self.cursize -= entry.size

    def put(self, variant: Variant, size: int) -> None:
        """Cache a response for the current request."""
        _, headers, _, created = variant
        with self._lock:
            names = sorted(element.value for element in headers.elements("Vary"))
            address, stated = place(), serving.request.headers
            key = address, tuple((name, stated.get(name)) for name in names)
            length = sum(map(len, (*(address or ()), *(value or "" for _, value in key[1]))))
            if "*" in names or length > _LONGEST_KEY:
                return
            self._varies[address] = names
            self._forget(key)
            self._entries[key] = _Entry(variant, size, created + self.delay)
            self.cursize += size
            while len(self._entries) > self.maxobjects or self.cursize > self.maxsize:
                oldest = next(iter(self._entries))
                self._forget(oldest)
                self._varies.pop(oldest[0], None)
        self.release()  # now, because a slow client delays the request's end

    def delete(self) -> None:
        """Remove all responses for the current request's URL."""
        address = place()
        with self._lock:
            self._varies.pop(address, None)
            for key in [key for key in self._entries if key[0] == address]:
                self._forget(key)

    def release(self) -> None:
        """Wake the requests that wait for the current request's response."""
        event = getattr(serving.request, "_cache_event", None)
        if event is not None:
            with self._lock:
                for key in [key for key, pending in self._pending.items() if pending is event]:
                    del self._pending[key]
            event.set()


_lock = threading.Lock()
_PACKAGE = __name__.removesuffix(".lib.caching")


def _cache_for(options: Section) -> Cache:
    """Return the process's cache, ``cherrypy._cache``, which the first request with
    ``tools.caching`` creates unless the program has set it.
    """
    with _lock:
        cache = _current()
        if cache is None:
            made = options.get("cache_class", MemoryCache)()
            for name, value in options.items():
                setattr(made, name, value)
            vars(sys.modules[_PACKAGE])["_cache"] = cache = made
    return cache


def _current() -> Cache | None:
    return vars(sys.modules[_PACKAGE]).get("_cache")


def get(
    invalid_methods: Sequence[str] = ("POST", "PUT", "DELETE"),
    debug: bool = False,
    **kwargs: object,
) -> bool:
    """Send the cached response if there is one. Otherwise set ``request.cacheable``, so that
    ``tee_output`` caches this request's response. ``request.cached`` is True if a cached response
    is sent.

    Only responses to GET and HEAD without credentials are cached (RFC 9111, section 3.5). A request
    with one of ``invalid_methods``, or with any method except GET, HEAD, OPTIONS and TRACE, removes
    the URL's responses from the cache.
    """
    request, response = serving.request, serving.response
    cache = _cache_for(kwargs)
    request.cached = request.cacheable = False
    if request.method in invalid_methods or request.method not in _SAFE:
        cache.delete()
        return False
    if (
        request.method not in _KEPT
        or request.login
        # Not ``micropie_header``, which records that the response depends on this header: micropie
        # would make it private.
        or dict.get(request.headers, "Authorization") is not None
    ):
        return False
    request.cacheable = True
    if "no-cache" in request.headers.values("Pragma"):
        return False
    max_age: float = cache.delay
    for element in request.headers.values("Cache-Control"):
        name, _, seconds = str(element).partition("=")
        if name == "no-cache":
            return False
        if name == "max-age":
            if not seconds.isdecimal():
                raise HTTPError(400, "Invalid Cache-Control header")
            max_age = min(max_age, int(seconds[:10]))
    found = cache.get()
    request.hooks.attach("on_end_request", cache.release, failsafe=True)
    if found is None:
        cptools.watched_headers()
        return False
    status, headers, body, created = found
    age = max(0, int(response.time - created))
    if age > max_age:
        return False
    request.cached, request.cacheable = True, False
    response.headers = headers.copy()
    response.headers["Age"] = str(age)
    cptools.validate_since()
    response.status = status
    response.body = body
    return True


_SAFE = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
_KEPT = frozenset({"GET", "HEAD"})

# Responses with these statuses may be cached. Other responses, such as a part of a file, a failed
# condition or a denied access, may be for one client only.
_FOR_ALL = frozenset({200, 203, 300, 301, 308, 404, 410})


def tee_output() -> None:
    """Put the response to a GET into the cache once its body is complete."""
    request, response, cache = serving.request, serving.response, _current()
    if (
        cache is not None
        and request.method == "GET"  # a handler may treat HEAD differently
        and valid_status(response.status)[0] in _FOR_ALL
        and "no-store" not in request.headers.values("Cache-Control")
        and not _is_for_one_visitor()
    ):
        body = response.body
        response.body = teed = Chunks.of(body, _teed(body, cache))
        teed.length = getattr(body, "length", None)


def _teed(body: Iterable[bytes], cache: Cache) -> Iterator[bytes]:
    """Yield a body's chunks. After the last chunk, put the body into the cache unless it is too
    long.
    """
    pieces: list[bytes] = []
    size = 0
    for piece in body:
        size += len(piece)
        if size > cache.maxobj_size:
            pieces.clear()
        else:
            pieces.append(piece)
        yield piece
    whole = b"".join(pieces)
    if whole and len(whole) == size and not _is_for_one_visitor():
        response = serving.response
        headers = response.headers.copy()
        headers.pop("Content-Length", None)
        cache.put((response.status, headers, whole, response.time), size)


def _is_for_one_visitor() -> bool:
    """Return whether the response is for one visitor only: its headers forbid sharing it, or the
    request used a session or a cookie.
    """
    headers, session = serving.response.headers, getattr(serving, "session", None)
    request = serving.request
    seen = cptools.watched_headers().seen
    return (
        "no-cache" in headers.values("Pragma")
        or not {"no-store", "private"}.isdisjoint(headers.values("Cache-Control"))
        or (session is not None and session.loaded)
        or not {"cookie", "wsgi_environ"}.isdisjoint(vars(request))
        or "Cookie" in seen
        or cptools.ALL in seen
    )
