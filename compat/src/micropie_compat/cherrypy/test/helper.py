"""``CPWebCase``, the test case class from CherryPy's manual. It sends requests to ``cherrypy.tree``
in this process, without a server.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Any, ClassVar, NoReturn
from unittest import TestCase
from urllib.parse import unquote_to_bytes
from wsgiref.util import setup_testing_defaults

from micropie_compat.cherrypy.config import config
from micropie_compat.cherrypy.process.wspbus import bus
from micropie_compat.cherrypy.tree import tree
from micropie_compat.results import close_if_closable, in_bytes

Headers = list[tuple[str, str]]

_WITH_BODIES = frozenset({"POST", "PUT", "PATCH"})


class CPWebCase(TestCase):
    """The base class for tests. The static method ``setup_server`` mounts the applications to test.

    ``getPage`` sets ``status`` (such as "200 OK"), ``headers``, ``body`` and ``cookies``. Pass
    ``cookies`` as headers to the next call to send the cookies back. ``script_name`` is prepended
    to each URL.
    """

    script_name = ""
    scheme = "http"
    HOST, PORT = "127.0.0.1", 54583
    interactive = False
    setup_server: ClassVar[Callable[[], object] | None] = None
    status = ""
    url = ""
    body = b""
    headers: Headers
    cookies: Headers
    _is_set_up: bool

    @classmethod
    def setup_class(cls) -> None:
        """Mount the applications by calling ``setup_server``, without other applications and
        configuration, and start the engine.
        """
        if "_is_set_up" in vars(cls):
            return
        cls._is_set_up = True
        config.reset()
        address = {"server.socket_host": cls.HOST, "server.socket_port": cls.PORT}
        config.update({"environment": "test_suite", "engine.autoreload.on": False, **address})
        if cls.setup_server is not None:
            tree.apps.clear()
            cls.setup_server()
            bus.follow_start(cls)

    @classmethod
    def teardown_class(cls) -> None:
        """Stop the engine."""
        if "_is_set_up" in vars(cls):
            del cls._is_set_up
            tree.native.wsgi_shutdown()
            bus.follow_stop(cls)

    # pytest also calls the two methods above. It calls an override of them only once.

    @classmethod
    def setUpClass(cls) -> None:
        """Call ``setup_class``, unless a subclass overrides it."""
        if _is_own(cls.setup_class):
            cls.setup_class()

    @classmethod
    def tearDownClass(cls) -> None:
        """Call ``teardown_class``, unless a subclass overrides it."""
        if _is_own(cls.teardown_class):
            cls.teardown_class()

    def prefix(self) -> str:
        """Return ``script_name`` without a slash at its end."""
        return self.script_name.rstrip("/")

    def base(self) -> str:
        """Return the URL of the application, without a slash at its end."""
        return f"{self.scheme}://{self.HOST}:{self.PORT}{self.prefix()}"

    def getPage(
        self,
        url: str,
        headers: Iterable[tuple[str, str]] | None = None,
        method: str = "GET",
        body: str | bytes | None = None,
        protocol: str | None = None,
        raise_subcls: object = (),
    ) -> tuple[str, Headers, bytes]:
        """Send a request; return its status, headers and body. ``url`` may be absolute."""
        self.url = f"{self.prefix()}/{re.sub('^https?://[^/?]*', '', url).lstrip('/')}"
        path, _, query = self.url.partition("?")
        content = in_bytes(body or b"")
        environ: dict[str, Any] = {
            "REQUEST_METHOD": method,
            "PATH_INFO": unquote_to_bytes(path).decode("latin-1"),
            "QUERY_STRING": query,
            "SERVER_NAME": self.HOST,
            "SERVER_PORT": str(self.PORT),
            "SERVER_PROTOCOL": protocol or "HTTP/1.1",
            "REMOTE_ADDR": "127.0.0.1",
            "wsgi.url_scheme": self.scheme,
            "wsgi.input": io.BytesIO(content),
        }
        if content or method in _WITH_BODIES:
            environ["CONTENT_LENGTH"] = str(len(content))
            environ["CONTENT_TYPE"] = "application/x-www-form-urlencoded"
        for name, value in headers or ():
            key = name.upper().replace("-", "_")
            if key in ("CONTENT_TYPE", "CONTENT_LENGTH"):
                environ[key] = value
            else:
                key = f"HTTP_{key}"
                between = "; " if key == "HTTP_COOKIE" else ", "
                environ[key] = f"{environ[key]}{between}{value}" if key in environ else value
        environ.setdefault("HTTP_HOST", f"{self.HOST}:{self.PORT}")
        setup_testing_defaults(environ)  # adds the values that a server always sets

        def start_response(status: str, headers: Headers, error: object = None) -> None:
            self.status, self.headers = status, headers

        chunks = tree(environ, start_response)
        try:
            self.body = b"".join(chunks)
        finally:
            close_if_closable(chunks)
        sent = [value for name, value in self.headers if name.lower() == "set-cookie"]
        self.cookies = [("Cookie", value.partition(";")[0]) for value in sent]
        return self.status, self.headers, self.body

    # -- assertions --------------------------------------------------------------------------------

    def _values(self, key: str) -> list[str]:
        return [value for name, value in self.headers if name.lower() == key.lower()]

    def _refuse(self, msg: str | None, sentence: str) -> NoReturn:
        self.fail(msg or f"{sentence}; {self.url} was {self.status}: {self.body[:500]!r}")

    def assertStatus(self, status: str | int | Sequence[str | int], msg: str | None = None) -> None:
        """Fail unless the response has this status, such as "200 OK" or 200, or one of several."""
        allowed = [status] if isinstance(status, str | int) else status
        if self.status not in allowed and int(self.status[:3]) not in allowed:
            self._refuse(msg, f"the status is not {status!r}")

    def assertHeader(self, key: str, value: object = None, msg: str | None = None) -> str:
        """Fail unless the response has this header, with this value if one is given. Return the
        header's value.
        """
        for found in self._values(key):
            if value is None or str(value) == found:
                return found
        self._refuse(msg, f"there is no header {key}: {value or ''}")

    def assertHeaderIn(self, key: str, values: Iterable[object], msg: str | None = None) -> str:
        """Fail unless the header has one of these values. Return the value."""
        allowed = [str(value) for value in values]
        for found in self._values(key):
            if found in allowed:
                return found
        self._refuse(msg, f"the header {key} has none of the values {allowed}")

    def assertHeaderItemValue(self, key: str, value: object, msg: str | None = None) -> str:
        """Fail unless the comma-separated header has this item. Return the header's value."""
        for found in self._values(key):
            if str(value) in [item.strip() for item in found.split(",")]:
                return found
        self._refuse(msg, f"{value!r} is not in {key}")

    def assertNoHeader(self, key: str, msg: str | None = None) -> None:
        """Fail if the response has this header."""
        if self._values(key):
            self._refuse(msg, f"there is a header {key}")

    def assertBody(self, value: str | bytes, msg: str | None = None) -> None:
        """Fail unless the body is exactly this text."""
        if self.body != in_bytes(value):
            self._refuse(msg, f"the body is not {value!r}")

    def assertInBody(self, value: str | bytes, msg: str | None = None) -> None:
        """Fail unless the body contains this text."""
        if in_bytes(value) not in self.body:
            self._refuse(msg, f"{value!r} is not in the body")

    def assertNotInBody(self, value: str | bytes, msg: str | None = None) -> None:
        """Fail if the body contains this text."""
        if in_bytes(value) in self.body:
            self._refuse(msg, f"{value!r} is in the body")

    def assertMatchesBody(
        self, pattern: str | bytes, msg: str | None = None, flags: int = 0
    ) -> re.Match[bytes]:
        """Fail unless the regular expression matches somewhere in the body. Return the match."""
        found = re.search(in_bytes(pattern), self.body, flags)
        return found or self._refuse(msg, f"{pattern!r} is not found in the body")

    def assertErrorPage(self, status: str | int, message: str = "", pattern: str = "") -> None:
        """Fail unless the response has this error status, and the page contains the message and
        matches the pattern.
        """
        self.assertStatus(status)
        self.assertInBody(message)
        self.assertMatchesBody(pattern)

    def assertEqualDates(self, dt1: datetime, dt2: datetime, seconds: float = 1) -> None:
        """Fail unless two times differ by at most ``seconds``."""
        if abs(dt1 - dt2).total_seconds() > seconds:
            self.fail(f"{dt1} and {dt2} are not the same")

    def skip(self, msg: str = "skipped") -> NoReturn:
        """Skip the test."""
        self.skipTest(msg)


def _is_own(method: Any) -> bool:
    """Return whether a class method is that of ``CPWebCase``."""
    return method.__func__ is vars(CPWebCase)[method.__name__].__func__
