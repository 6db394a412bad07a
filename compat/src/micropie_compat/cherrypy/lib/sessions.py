"""``cherrypy.lib.sessions``: the tool ``sessions``, and the classes that store the data.

``cherrypy.session`` is a dict with one visitor's data. The visitor's cookie contains the session's
``id``. The data is loaded when it is first used and saved before the response is sent, even after
errors and redirects.

By default a request locks its session: another request with the same session waits before its
handler runs ("implicit") or before its body is read ("early"). With "explicit" the handler must
call ``acquire_lock`` itself. A lock belongs to the session object rather than to a thread, because
a request may run in several threads. If the response is streamed, the lock is released before the
first chunk is sent: producing the chunks needs threads, and requests waiting for the lock could
occupy all of them.
"""

from __future__ import annotations

import contextlib
import inspect
import os
import pickle
import re
import secrets
import tempfile
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from functools import partial
from importlib import import_module
from itertools import chain
from math import inf
from pathlib import Path
from typing import IO, Any, ClassVar, Final, NoReturn, Protocol, TypeAlias, cast

from micropie import App, ResponseError, SetupError
from micropie.middleware import CSRFMiddleware
from micropie.sessions import InMemorySessionBackend, SessionBackend, SessionStore
from micropie.sessions import Session as NativeSession
from micropie_compat import plain
from micropie_compat.cherrypy.errors import HTTPError
from micropie_compat.cherrypy.lib import is_iterator, set_vary_header
from micropie_compat.cherrypy.lib.httputil import HTTPDate
from micropie_compat.cherrypy.locks import LockTable
from micropie_compat.cherrypy.log import log
from micropie_compat.cherrypy.process.plugins import Monitor
from micropie_compat.cherrypy.process.wspbus import bus
from micropie_compat.cherrypy.serving import serving
from micropie_compat.cherrypy.types import Options
from micropie_compat.core import Config, check_size, current, deleting_cookie
from micropie_compat.missing import tell
from micropie_compat.plain import from_json, to_json
from micropie_compat.results import Chunks, Values, in_bytes, words

Data: TypeAlias = dict[str, Any]
"""A session's data: values of any type by name."""

Stored: TypeAlias = tuple[Data, datetime]
"""A stored session: its data, and the time when it expires."""


class _Serializer(Protocol):
    def dumps(self, obj: object, /) -> str | bytes:
        """Return a value encoded as a string or as bytes."""

    def loads(self, content: bytes, /) -> Any:
        """Return the value that ``dumps`` has encoded."""


# Valid ids. An id may become part of a file's name or of a database key.
_ID = re.compile(r"[A-Za-z0-9_-]{1,128}")
# Valid ids if a program's class has its own ``generate_id``: all visible characters, but no paths.
_OWN_ID = re.compile(r"(?!\.)[!-.0-\[\]-~]{1,240}")


class _Busy(HTTPError):
    """The 503 error for a request that waited too long for other requests with the same session."""

    def __init__(self) -> None:
        super().__init__(
            503, "Another request in this session is taking too long. Please try again in a moment."
        )

    def set_response(self) -> None:
        super().set_response()
        serving.response.headers["Retry-After"] = "1"


def _of_data(name: str) -> Callable[..., Any]:
    """Return a method of ``Session`` that calls a method of the dict with the session's data."""

    def method(self: Session, *arguments: object, **values: object) -> Any:
        return getattr(self._loaded_data(), name)(*arguments, **values)

    return method


class Session:
    """The base class of sessions: a dict with one visitor's data.

    Subclasses define ``_exists``, ``_load``, ``_save`` and ``_delete`` to store the data. They may
    override ``acquire_lock`` and ``release_lock``.
    """

    timeout: float = 60
    """Minutes from the last request until the session expires."""
    lock_timeout: float | timedelta | None = 60
    """Seconds to wait for a lock before the client gets a 503."""
    queue_timeout: float | None = 10
    """How many seconds one request may hold the lock while many others wait for it, see
    ``LockTable``. None means no limit.
    """
    clean_freq: float = 5
    """Minutes between two clean-ups of expired sessions; 0 means that they are never cleaned up."""
    max_session_size: int = 64 * 1024
    """The maximum size of the data in bytes, measured as JSON. Larger data isn't saved, and the
    client gets a 500; ``RamSession`` also deletes the session.
    """
    clean_thread: ClassVar[Monitor | None] = None
    locks: ClassVar[LockTable] = LockTable()
    id_observers: list[Callable[[str], object]]
    locked = False
    loaded = False
    missing = False
    """Whether the client has sent an id that isn't stored."""
    regenerated = False
    originalid: str | None = None
    """The id that the client has sent, or None."""
    debug = False
    micropie_set_cookie: Callable[[], object]
    """A function that sets the cookie with the tool's options."""
    micropie_store: SessionStore | None = None
    """The store of micropie's sessions, if native handlers share this session."""
    _prepared: ClassVar[tuple[Values, ...]]
    # Whether data is stored for the id.
    _was_stored = False
    # Whether this request has deleted the session.
    _ended = False
    # The id that was locked: the session may get another id before it is unlocked.
    _locked_id: str | None = None
    _id: Any

    def __init__(self, id: str | None = None, **kwargs: object) -> None:  # noqa: A002 - CherryPy's name
        self.id_observers = []
        self._data: Data = {}
        self._id = self.originalid = id
        for name, value in kwargs.items():
            setattr(self, name, value)
        self._was_stored = id is not None and self._is_id(id) and self._exists()
        if not self._was_stored:
            self.missing = id is not None
            self._id = None
            self._regenerate()

    @classmethod
    def setup(cls, **kwargs: object) -> None:
        """Prepare the storage. This method is called once in each process for each combination of
        the tool's options (``kwargs``).
        """

    @property
    def id(self) -> Any:
        """The session's id."""
        return self._id

    @id.setter
    def id(self, value: str) -> None:
        self._id, self._was_stored = value, False
        for observer in self.id_observers:
            observer(value)

    def now(self) -> datetime:
        """Return the current time, which is used to set and to check expiry times."""
        return datetime.now()

    def generate_id(self) -> str:
        """Return a new id."""
        return secrets.token_hex(20)

    def _is_id(self, text: str) -> bool:
        is_own = type(self).generate_id not in (Session.generate_id, BackendSession.generate_id)
        return (_OWN_ID if is_own else _ID).fullmatch(text) is not None

    def regenerate(self) -> None:
        """Give the session a new id and keep its data. The entry with the old id is deleted from
        the storage.
        """
        self.regenerated = True
        self._regenerate()

    def _regenerate(self, deletes: bool = True) -> None:
        was_locked = self.locked
        if self._id is not None:
            if deletes:
                self.delete()
            if was_locked:
                self.release_lock()
        self._id = self.generate_id()
        while self._exists():
            self._id = self.generate_id()
        self._ended = False
        self.id = self._id  # the setter calls ``id_observers``
        if was_locked:
            self.acquire_lock()

    def clean_up(self) -> None:
        """Delete expired sessions from the storage."""

    # -- storage -----------------------------------------------------------------------------------

    def load(self) -> None:
        """Load the data from the storage. Called when the session's data is first used."""
        found = self._load()
        if found is None and self._was_stored:
            # Another request has just deleted the session, or it can't be read. What can't be read
            # stays in the storage.
            self._regenerate(deletes=False)
        if found is not None and found[1] < self.now():
            # A clean-up may delete it before it is saved, which must not count as a log-out.
            found, self._was_stored = None, False
        self._data = {} if found is None else found[0]
        self.loaded = True
        cls = type(self)
        cleans_up = self.clean_freq and cls.clean_up is not Session.clean_up
        if cleans_up and not cls.clean_thread:
            cls.clean_thread = Monitor(
                bus, self.clean_up, self.clean_freq * 60, name="Session cleanup"
            )
            cls.clean_thread.subscribe()
            cls.clean_thread.start()

    def save(self) -> None:
        """Store the data if it was used, and release the lock.

        A session that this or another request has deleted isn't stored again.
        """
        try:
            if self.loaded and not self._ended and (not self._was_stored or self._exists()):
                self._check_size(self._data)
                self._save(self.now() + timedelta(minutes=self.timeout))
                self._was_stored = True
        finally:
            if self.locked:
                self.release_lock()

    def _check_size(self, data: Values) -> None:
        try:
            check_size(data, self.max_session_size, "tools.sessions.max_session_size = {}")
        except ResponseError:
            raise
        except Exception:
            # JSON can't measure values that refer to each other, or whose ``repr`` fails.
            log("the size of the session is unknown", "SESSION", 10, True)

    def delete(self) -> None:
        """Delete the session from the storage. This request won't store it again, so a log-out is
        final.
        """
        self._ended = True
        self._delete()

    def acquire_lock(self) -> None:
        """Lock the session, waiting until no other request of this process holds the lock.

        Raises ``HTTPError`` 503 if that takes too long.
        """
        assert self._id is not None  # noqa: S101
        if self._locked_id is not None:  # the tool has locked it already
            return
        if not self._lock_table.acquire(self._id, _seconds(self.lock_timeout), self.queue_timeout):
            raise _Busy
        self.locked, self._locked_id = True, self._id

    def release_lock(self) -> None:
        """Release the lock."""
        if self._locked_id is None:
            return
        self.locked, locked_id, self._locked_id = False, self._locked_id, None
        self._lock_table.release(locked_id)

    @property
    def _lock_table(self) -> LockTable:
        # A subclass may have its own dict, as CherryPy's classes do.
        return self.locks if isinstance(self.locks, LockTable) else Session.locks

    def _exists(self) -> bool:
        raise NotImplementedError

    def _load(self) -> Stored | None:
        raise NotImplementedError

    def _save(self, expiration_time: datetime) -> None:
        raise NotImplementedError

    def _delete(self) -> None:
        raise NotImplementedError

    # -- the dict ----------------------------------------------------------------------------------

    def _loaded_data(self) -> Data:
        if not self.loaded:
            self.load()
        return self._data

    __getitem__, __setitem__, __delitem__, __contains__, __iter__ = map(
        _of_data, words("__getitem__ __setitem__ __delitem__ __contains__ __iter__")
    )
    update, clear, keys, values, items = map(_of_data, words("update clear keys values items"))

    def get(self, key: str, default: object = None) -> Any:
        """Return the value of a key, or ``default``."""
        return self._loaded_data().get(key, default)

    def setdefault(self, key: str, default: object = None) -> Any:
        """Return the value of a key. If the key is missing, set it to ``default`` first."""
        return self._loaded_data().setdefault(key, default)

    def pop(self, key: str, default: object = False) -> Any:
        """Remove a key and return its value. For a missing key return ``default``, which is False
        as in CherryPy.
        """
        return self._loaded_data().pop(key, default)


def _seconds(limit: float | timedelta | None) -> float:
    """Return a time limit in seconds; infinity if there is none."""
    if limit is None:
        return inf
    return limit.total_seconds() if isinstance(limit, timedelta) else limit


class RamSession(Session):
    """Sessions in this process's memory, with values of any type. Other processes don't see them.

    If there are more than ``capacity`` sessions, the least recently saved are removed, because
    clients without cookies create a new session at each request.
    """

    capacity: ClassVar[int] = 100_000
    cache: ClassVar[dict[str, Stored]] = OrderedDict()
    locks: ClassVar[LockTable] = LockTable()
    clean_thread: ClassVar[Monitor | None] = None

    def _is_id(self, text: str) -> bool:
        return super()._is_id(text.replace("/", "-"))  # here a slash can't lead to a file

    def clean_up(self) -> None:
        """Delete expired sessions, except those that a request has locked, which may save them."""
        now = self.now()
        for session_id, (_, expires) in [*self.cache.items()]:
            if expires <= now and self._lock_table.acquire(session_id, 0):
                found = self.cache.get(session_id)
                if found is not None and found[1] <= now:
                    self.cache.pop(session_id, None)
                self._lock_table.release(session_id)

    def _check_size(self, data: Values) -> None:
        try:
            super()._check_size(data)
        except ResponseError:
            self._delete()  # the stored data is the same dict, which is too large now
            raise

    def _exists(self) -> bool:
        return self._id in self.cache

    def _load(self) -> Stored | None:
        return self.cache.get(self._id)

    def _save(self, expiration_time: datetime) -> None:
        cache = self.cache
        cache[self._id] = self._data, expiration_time
        if not isinstance(cache, OrderedDict):  # a subclass has its own dict
            return
        with contextlib.suppress(KeyError):  # another request has just deleted the session
            cache.move_to_end(self._id)
        while len(cache) > self.capacity:
            cache.popitem(last=False)

    def _delete(self) -> None:
        self.cache.pop(self._id, None)

    def __len__(self) -> int:
        return len(self.cache)


class FileSession(Session):
    """Sessions in files in the directory ``storage_path``, one file per session. Several processes
    on one machine can share them.

    The files have CherryPy's format, so either framework reads what the other has written.

    ``serializer``: a module or object with ``dumps`` and ``loads``; ``dumps`` may return a string
        or bytes. The default writes and reads plain values, see ``plain.py``. ``pickle`` allows
        values of any type, but loading a pickle can run any code. So with ``pickle``, no other user
        may have write access to the directory.
    """

    SESSION_PREFIX = "session-"
    LOCK_SUFFIX = ".lock"
    storage_path: str = ""
    serializer: _Serializer = plain
    folders: ClassVar[set[str]] = set()
    """All directories with sessions that this process uses. One clean-up handles all of them."""
    locks: ClassVar[LockTable] = LockTable()
    clean_thread: ClassVar[Monitor | None] = None
    lock: Any = None
    """The open lock file while the session is locked, otherwise None."""

    def __init__(self, id: str | None = None, **kwargs: Any) -> None:  # noqa: A002 - CherryPy's name
        kwargs["storage_path"] = folder = os.path.abspath(
            kwargs.get("storage_path") or self.storage_path
        )
        self.folders.add(folder)
        super().__init__(id, **kwargs)

    @classmethod
    def setup(cls, **kwargs: Any) -> None:
        """Create the directory. Raises ``ValueError`` if ``storage_path`` isn't given."""
        if not kwargs.get("storage_path"):
            raise ValueError("sessions in files need a directory: set tools.sessions.storage_path")
        os.makedirs(kwargs["storage_path"], mode=0o700, exist_ok=True)

    def _is_id(self, text: str) -> bool:
        return super()._is_id(text) and not text.endswith(self.LOCK_SUFFIX)

    def _get_file_path(self) -> str:
        return os.path.join(self.storage_path, f"{self.SESSION_PREFIX}{self._id}")

    def _exists(self) -> bool:
        return os.path.isfile(self._get_file_path())

    def _load(self, path: str | None = None) -> Stored | None:
        file = Path(path or self._get_file_path())
        try:
            return self._read(file)
        except Exception as error:
            _log_unreadable(file, error)
            return None

    def _read(self, path: Path) -> Stored | None:
        """Return a file's data and its expiry time, or None if the file doesn't exist.

        Raises an exception of any type if the file can't be read, for example because it contains
        objects, or because another serializer has written it.
        """
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            return None
        data, expires = self.serializer.loads(content)
        if not isinstance(data, dict):
            raise ValueError(f"the data is a {type(data).__name__}, not a dict")
        return data, expires if type(expires) is datetime else datetime.fromtimestamp(expires)

    def _save(self, expiration_time: datetime) -> None:
        serializer, expires = self.serializer, expiration_time
        # Other serializers may have no dates.
        is_pickle = serializer in (plain, pickle)
        content = serializer.dumps((self._data, expires if is_pickle else expires.timestamp()))
        # Write to a temporary file and rename it, so that another process never reads half a file.
        file = tempfile.NamedTemporaryFile(dir=self.storage_path, prefix="saving-", delete=False)  # noqa: SIM115 - closed below
        try:
            with file:
                file.write(in_bytes(content))
            os.replace(file.name, self._get_file_path())
        except OSError:  # for example, the disk is full
            os.unlink(file.name)
            raise

    def _delete(self) -> None:
        path = Path(self._get_file_path())
        try:
            if self._read(path) is not None:
                path.unlink(missing_ok=True)
        except Exception as error:
            # After any other OSError the next request might read the file, so a log-out must fail
            # visibly.
            if isinstance(error, OSError) and not isinstance(error, PermissionError):
                raise
            _log_unreadable(path, error)

    def acquire_lock(self, path: str | None = None) -> None:
        """Lock the session for all processes of this machine."""
        if self._locked_id is not None:
            return
        super().acquire_lock()
        try:
            self.lock = _locked_file(
                f"{path or self._get_file_path()}{self.LOCK_SUFFIX}", self.lock_timeout
            )
        except BaseException:
            super().release_lock()
            raise

    def release_lock(self, path: str | None = None) -> None:
        """Release the lock."""
        lock, self.lock = self.lock, None
        if lock is None:
            return
        if self._locked_id is None:  # a subclass has set ``lock`` in its own ``acquire_lock``
            lock.close()
            self.locked = False
            return
        _unlocked(lock)
        super().release_lock()

    def clean_up(self) -> None:
        """Delete expired sessions in all directories, except those that a request has locked. Files
        that can't be read are kept.
        """
        now = self.now()
        for path in chain.from_iterable(map(self._files, [*self.folders])):
            with contextlib.suppress(Exception):
                if self._is_over(path, now):
                    lock = _locked_file(f"{path}{self.LOCK_SUFFIX}", 0)
                    # Again, because a request may have saved it before the lock was taken.
                    if self._is_over(path, now):
                        path.unlink(missing_ok=True)
                    _unlocked(lock)

    def _is_over(self, path: Path, now: datetime) -> bool:
        found = self._read(path)
        return found is not None and found[1] <= now

    def _files(self, folder: str) -> list[Path]:
        found = Path(folder).glob(f"{self.SESSION_PREFIX}*")
        return [path for path in found if not path.name.endswith(self.LOCK_SUFFIX)]

    def __len__(self) -> int:
        return len(self._files(self.storage_path))


def _log_unreadable(path: Path, error: Exception) -> None:
    log(
        f"the session in {path} can't be read: the visitor gets a new session, and the file is "
        "kept",
        "SESSION",
        30,
        error,
    )


def _locked_file(path: str, limit: float | timedelta | None) -> IO[bytes]:
    """Return an open file whose lock (``flock``) is held by this process.

    Raises ``HTTPError`` 503 if waiting takes longer than ``limit``.
    """
    try:
        fcntl = import_module("fcntl")
    except ImportError:  # on Windows, where only one process can use file sessions
        return open(path, "wb")
    end = time.monotonic() + _seconds(limit)
    while True:
        file = open(path, "wb")  # noqa: SIM115 - ``release_lock`` closes it
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Check that the path still refers to the locked file: if another process has removed
            # it, other requests lock a new file.
            if os.path.samestat(os.fstat(file.fileno()), os.stat(path)):
                return file
        except OSError:
            pass
        file.close()
        if time.monotonic() > end:
            raise _Busy
        time.sleep(0.01)


def _unlocked(lock: IO[bytes]) -> None:
    """Release the lock of ``_locked_file``."""
    Path(lock.name).unlink(missing_ok=True)
    lock.close()


class BackendSession(Session):
    """Sessions in a backend of ``micropie.sessions`` (the option ``tools.sessions.backend``).
    Native handlers can share these sessions.

    Only changed keys are stored, so that another process's changes to other keys aren't lost.
    Values that JSON would change are stored as in ``plain.py``.
    """

    backend: SessionBackend
    locks: ClassVar[LockTable] = LockTable()

    @classmethod
    def setup(cls, **kwargs: Any) -> None:
        """Check the backend's type.

        Raises ``ValueError`` if its methods are ``async def``, or if it stores no data on the
        server.
        """
        backend = kwargs["backend"]
        if inspect.iscoroutinefunction(backend.load) or inspect.iscoroutinefunction(backend.save):
            raise ValueError(
                "tools.sessions.backend must have load and save methods that are def, not async def"
            )
        if getattr(backend, "in_cookie", False):
            raise ValueError(
                "tools.sessions.backend must store sessions on the server: "
                "use SQLiteSessionBackend or RedisSessionBackend"
            )

    def generate_id(self) -> str:
        """Return a new id in the format of micropie's sessions."""
        return (
            secrets.token_urlsafe(32)
            if self.micropie_store is None
            else self.micropie_store.make_id()
        )

    def _is_id(self, text: str) -> bool:
        return (
            super()._is_id(text)
            if self.micropie_store is None
            else bool(self.micropie_store.is_id(text))
        )

    def regenerate(self) -> None:
        """Give the session a new id and keep its data. The entry with the old id is deleted from
        the storage.
        """
        native = self._loaded_data()
        super().regenerate()
        native.regenerate()

    def save(self) -> None:
        """Store the data if CherryPy handlers or native hooks have used it, and release the
        lock.
        """
        native = None if self.micropie_store is None else current.get()._exchange.answer.session
        if native is not None and native.changed:
            self._loaded_data()
        super().save()

    def _loaded_data(self) -> NativeSession:
        return cast(NativeSession, super()._loaded_data())

    def _stored(self) -> Data:
        try:
            return from_json(self.backend.load(self._id) or {})
        except OSError:
            log("the session backend is unavailable", "SESSION", 40, True)
        raise HTTPError(503, "The session store is unavailable. Please try again in a moment.")

    def _exists(self) -> bool:
        return bool(self._stored())

    def _load(self) -> Stored | None:
        stored = self._stored()
        if self.micropie_store is None:
            native = NativeSession(self._id if stored else None, stored)
        else:
            # Reload data that may have been loaded before this request got the lock.
            native = current.get().session
            native.reload(stored)
        # The backend removes expired sessions itself, so any expiry time in the future will do.
        return native, self.now() + timedelta(days=1)

    def _save(self, expiration_time: datetime) -> None:
        native = self._loaded_data()
        # true if a native hook or ``clear`` has regenerated the id
        if native.regenerated and native.id == self._id:
            self.regenerate()
        seconds = round(self.timeout * 60)
        merge = getattr(self.backend, "merge", None)
        if merge is not None and native.id == self._id:
            changes = native.changes()
            changes.check = self._check_size
            changes.values = to_json(changes.values)
            changes.deletions = frozenset(to_json(dict.fromkeys(changes.deletions)))
            # does nothing if another request has deleted the session
            merge(self._id, changes, seconds)
        else:
            self.backend.save(self._id, to_json(dict(native)), seconds)
        native.id = self._id if native else None
        native.mark_saved()
        token = (
            deleting_cookie(current.get())
            if self.micropie_store is not None and native.renewed
            else None
        )
        if token is not None:
            serving.response.cookie.load(token)

    def _delete(self) -> None:
        self.backend.save(self._id, {}, 0)


# -- the tool --------------------------------------------------------------------------------------

# Options of the tool that don't apply to native handlers, each with:
# - its default value
# - the setting of ``App`` to use instead, which applies to all handlers, or "" if there is none
# - a function that converts the option's value to a value of the setting
_OF_BOTH: Final[Mapping[str, tuple[object, str, Callable[[Any], object]]]] = {
    "timeout": (None, "session_timeout", lambda minutes: round(minutes * 60)),
    "max_session_size": (None, "max_session_size", int),
    "secure": (False, "session_cookie_secure", bool),
    "samesite": ("Lax", "session_cookie_samesite", str),
    "httponly": (True, "", bool),
    "persistent": (True, "", bool),
}


_STORAGES = ("storage_class", "storage_type", "storage_path")


def has_own_cookie(options: Options) -> bool:
    """Return whether the tool's cookie differs from that of native handlers."""
    return any(options.get(name) for name in ("name", "path", "path_header", "domain"))


def is_in_memory(options: Options) -> bool:
    """Return whether the tool stores sessions in this process's memory."""
    backend, storage_class = options.get("backend"), options.get("storage_class")
    if backend is not None:
        return isinstance(backend, InMemorySessionBackend)
    if storage_class is not None:
        return storage_class is RamSession
    return (options.get("storage_type") or "ram").lower() == "ram"


class UnsharedSessions(SessionBackend):
    """A backend for native handlers that raises ``SetupError``. It is used if CherryPy handlers
    store their sessions elsewhere, but with the same cookie. With any other backend, native
    handlers would read empty sessions, and writing to one would replace the visitor's cookie.
    """

    blocking = False
    in_cookie = True  # so that ``load`` is called for any id

    def __init__(self, native: App) -> None:
        self._native = native

    def load(self, session_id: str) -> dict[str, object]:
        """Raise ``SetupError``, or return {} if the application has ``CSRFMiddleware``. This
        middleware loads the session too, and stores its token in a cookie if the session is empty.
        """
        if any(isinstance(one, CSRFMiddleware) for one in self._native.middlewares):
            return {}
        self._refuse()

    def save(self, session_id: str, data: object, timeout: int) -> NoReturn:
        """Raise ``SetupError``."""
        self._refuse()

    def _refuse(self) -> NoReturn:
        raise SetupError(
            "cherrypy.session and request.session of native handlers are two sessions with the "
            "same cookie name. To share one session, create sessions = InMemorySessionBackend(), "
            "then set tools.sessions.backend to sessions and call "
            "native.configure(session_backend=sessions). To keep two, set tools.sessions.name to "
            "another name"
        )


def check_options(options: Options, config: Config) -> None:
    """Check that the tool's options match the session settings of native handlers, unless the tool
    uses another cookie.

    Raises ``SetupError`` for an option that contradicts a setting. Also raises it if CherryPy and
    native handlers use the same cookie for different sessions.
    """
    backend = options.get("backend")
    if has_own_cookie(options):
        return
    if backend is None:
        if config.app.session_backend is not None:
            line = next((name for name in _STORAGES if options.get(name) is not None), "on")
            raise SetupError(
                "two sessions would have the same cookie name: one from "
                f"tools.sessions.{line} = {options.get(line, True)!r}, the other from "
                "native.session_backend. To share one session, set tools.sessions.backend to the "
                "same backend. To keep two, set tools.sessions.name to another name. If native "
                "handlers use no session, leave session_backend out of native.configure"
            )
        return
    if config.sessions.backend is not backend:
        if config.app.session_backend is not None:
            raise SetupError(
                "tools.sessions.backend and native.session_backend must be the same object, "
                "because otherwise CherryPy and native handlers would end each other's sessions"
            )
        return
    for option, (default, setting, converted) in _OF_BOTH.items():
        stated = options.get(option, default)
        if stated == default or converted(stated) == getattr(config.settings, setting, None):
            continue
        advice = (
            f"write native.configure({setting}={converted(stated)!r}) instead"
            if setting
            else "leave it out"
        )
        raise SetupError(
            f"tools.sessions.{option} = {stated!r} applies only to CherryPy handlers, but native "
            f"handlers use the same session: {advice}"
        )


def init(
    storage_type: str | None = None,
    path: str | None = None,
    path_header: str | None = None,
    name: str | None = None,
    timeout: float | None = None,
    domain: str | None = None,
    secure: bool = False,
    clean_freq: float = 5,
    persistent: bool = True,
    httponly: bool = True,
    debug: bool = False,
    storage_class: type[Session] | None = None,
    samesite: str | None = "Lax",
    **kwargs: object,
) -> None:
    """The tool ``sessions``: create the session object for the current request, and set its cookie.

    ``storage_class``: the class of the session, by default ``RamSession``.
    ``backend``: a backend of ``micropie.sessions`` to use instead of a class.
    ``storage_type``: "ram" or "file", or "redis" if the program has set a class ``RedisSession`` in
        this module.
    ``timeout``: minutes, by default 60.
    ``name``: the cookie's name, by default "session_id". With a ``backend`` and without ``path``,
        ``path_header`` and ``domain``, the default is the name that micropie's sessions use.
    ``path_header``: the name of a request header that contains the cookie's ``path``.
    ``persistent``: whether browsers keep the cookie when they are closed.

    ``path``, ``domain``, ``secure``, ``httponly`` and ``samesite`` are attributes of the cookie.
    Other options are passed to the class.
    """
    request = serving.request
    if getattr(request, "_session_init_flag", False):
        return
    request._session_init_flag = True
    native = current.get(None)
    store = None
    backend = kwargs.get("backend")
    config: Config | None = None if native is None else native._exchange.config
    if (
        config is not None
        and (backend is not None or config.app.session_backend is not None)
        and not (name or path or path_header or domain)
    ):
        check_options({**kwargs, **locals()}, config)  # with all parameters
        name = config.sessions.cookie_name(native.scheme, native.root_path)
        if config.sessions.backend is backend:
            store, timeout = config.sessions, config.settings.session_timeout / 60
            kwargs.setdefault("max_session_size", config.settings.max_session_size)
    timeout = 60 if timeout is None else timeout
    serving.cookie_name = name = name or "session_id"
    # Another tool may have replaced the request's cookies.
    morsel = vars(request).get("cookie", request.micropie_cookies).get(name)
    sent = None if morsel is None else morsel.value
    cls = storage_class or _class_for(storage_type, kwargs)
    prepared = vars(cls).get("_prepared", ())
    if kwargs not in prepared:
        cls.setup(**kwargs)
        cls._prepared = (*prepared, kwargs)
    # Not added to ``kwargs``, which ``_prepared`` contains now.
    further: dict[str, object] = {"timeout": timeout, "clean_freq": clean_freq}
    if store is not None:
        sent, further["micropie_store"] = store.find_id(native._exchange), store
    serving.session = session = cls(sent, **kwargs, **further)
    session.debug = debug
    if native is not None:
        # ``on_close`` runs even if the client has disconnected; hooks don't.
        native.on_close(partial(_unlock, session))
    session.id_observers.append(lambda new_id: serving.response.cookie.__setitem__(name, new_id))
    lasts = timeout if persistent else None
    session.micropie_set_cookie = partial(
        set_response_cookie, path, path_header, name, lasts, domain, secure, httponly, samesite
    )
    session.micropie_set_cookie()


def _class_for(storage_type: str | None, options: Values) -> type[Session]:
    if options.get("backend") is not None:
        return BackendSession
    found = globals().get(f"{(storage_type or 'ram').title()}Session")
    if not isinstance(found, type):
        raise ValueError(
            f"tools.sessions.storage_type is {storage_type!r}, but must be 'ram' or 'file', or a "
            "name such as 'mine' for a class cherrypy.lib.sessions.MineSession. For several "
            "machines write tools.sessions.backend = RedisSessionBackend(url)"
        )
    return found


def set_response_cookie(
    path: str | None = None,
    path_header: str | None = None,
    name: str = "session_id",
    timeout: float | None = 60,
    domain: str | None = None,
    secure: bool = False,
    httponly: bool = True,
    samesite: str | None = "Lax",
) -> None:
    """Set the session's cookie on the current response. The arguments are those of ``init``.

    If ``timeout`` is None or 0, the cookie is deleted when the browser is closed. Over https,
    ``secure`` is always set.
    """
    cookie, session = serving.response.cookie, serving.session
    if session.micropie_store is not None:  # the cookie is shared with native handlers
        native = current.get()
        cookie.load(session.micropie_store.cookie(session.id, native.scheme, native.root_path))
        return
    cookie[name] = session.id
    morsel = cookie[name]
    morsel["path"] = path or (path_header and serving.request.headers.get(path_header)) or "/"
    if timeout:
        seconds = int(timeout * 60)
        morsel["max-age"] = seconds
        morsel["expires"] = HTTPDate(time.time() + seconds)
    if domain is not None:
        morsel["domain"] = domain
    if secure or serving.request.base.startswith("https:"):
        morsel["secure"] = True
    if httponly:
        morsel["httponly"] = True
    if samesite:
        morsel["samesite"] = samesite


def expire() -> None:
    """Make the browser delete the session's cookie.

    The stored session remains until it expires or ``session.delete()`` is called.
    """
    morsel = serving.response.cookie[serving.cookie_name]
    morsel["expires"] = HTTPDate(time.time() - 365 * 24 * 3600)
    morsel["max-age"] = ""


def save() -> None:
    """Save the session once, before the response is sent."""
    request, response = serving.request, serving.response
    session = getattr(serving, "session", None)
    if session is None or getattr(request, "_sessionsaved", False):
        return
    request._sessionsaved = True
    if session.loaded:  # caches must not send this response to other clients
        set_vary_header(response, "Cookie")
        response.headers.setdefault("Cache-Control", "private")
    if not response.stream:
        if is_iterator(response.body):  # the generator may still use the session
            response.collapse_body()
        session.save()
        return
    session.save()
    # micropie saves a native session before it sends the headers. So the changes that the stream
    # makes are saved separately, by ``_saved_at_its_end``.
    if session.micropie_store is not None:
        session.micropie_store, session.loaded = None, False
    made: Any = _saved_at_its_end(session, response.body)
    response.body = chunks = Chunks.of(response.body, made)
    close = chunks.close

    def close_both() -> None:
        with contextlib.closing(made):  # second, because closing the body may change the session
            close()

    chunks.close = close_both


def _saved_at_its_end(session: Session, body: Iterable[object]) -> Iterator[object]:
    """Yield a stream's chunks. If the stream has changed the session, save it again before the
    stream ends.
    """
    before = _shown(session._data)
    try:
        for chunk in body:  # noqa: UP028 - ``yield from`` would close the body a second time
            yield chunk
    finally:
        if session.loaded and (before is None or _shown(session._data) != before):
            session.acquire_lock()
            session.save()


def _shown(data: Data) -> str | None:
    """Return the ``repr`` of a session's data, or None if that of a value fails."""
    try:
        return repr(data)
    except Exception:
        return None


save.failsafe = True  # type: ignore[attr-defined]
save.priority = 90  # type: ignore[attr-defined]


def close() -> None:
    """Release the session's lock when the request ends, even after an error."""
    session: Session | None = getattr(serving, "session", None)
    if session is not None:
        _unlock(session)


def _unlock(session: Session) -> None:
    if session.locked:
        with contextlib.suppress(Exception):
            session.release_lock()


close.failsafe = True  # type: ignore[attr-defined]
close.priority = 90  # type: ignore[attr-defined]


def __getattr__(name: str) -> object:
    tell(__name__, name)
