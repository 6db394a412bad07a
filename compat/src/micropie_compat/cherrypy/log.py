"""``cherrypy.log``: the error log and the access log, written with the standard library's
``logging``.
"""

from __future__ import annotations

import datetime
import logging
import sys
from typing import Any, TextIO

from micropie_compat.cherrypy.process.wspbus import bus
from micropie_compat.cherrypy.serving import current_exchange
from micropie_compat.core import current
from micropie_compat.results import StrPath, words

logfmt = logging.Formatter("%(message)s")
_SCREEN, _SERVER = "screen", "wsgi"
_MONTHS = words("Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec")


def _file_of(log: str) -> Any:
    """Return a property for the path of the file of the logger ``log``."""

    def get(manager: LogManager) -> str:
        handler = manager._get_builtin_handler(getattr(manager, log), "file")
        return str(getattr(handler, "baseFilename", ""))

    def put(manager: LogManager, path: StrPath | None) -> None:
        logger = getattr(manager, log)
        manager._replace(logger, "file", None)
        if path:
            manager._add_builtin_file_handler(logger, path)

    return property(get, put)


class LogManager:
    """An application's two logs, written by ``log("message")``, ``log.error`` and ``log.access``;
    ``error_log`` and ``access_log`` are their loggers.

    ``screen``: whether to log to the terminal. ``wsgi``: whether to log a request's errors to the
    error log of the server. ``error_file``, ``access_file``: the paths of the log files; "" means
    no file.
    """

    appid: object = None
    access_log_format = '{h} {l} {u} {t} "{r}" {s} {b} "{f}" "{a}"'

    def __init__(self, appid: object = None, logger_root: str = "cherrypy") -> None:
        self.appid = appid
        self.logger_root = logger_root
        suffix = "" if appid is None else f".{appid}"
        self.error_log = _logger(f"{logger_root}.error{suffix}")
        self.access_log = _logger(f"{logger_root}.access{suffix}")
        bus.subscribe("graceful", self.reopen_files)

    def error(
        self,
        msg: str = "",
        context: str = "",
        severity: int = logging.INFO,
        traceback: Any = False,
    ) -> None:
        """Write a message to the error log.

        ``traceback``: True to add the exception that is being handled, or another exception.
        """
        self.error_log.log(severity, f"{self.time()} {context} {msg}", exc_info=traceback)

    def __call__(self, *args: Any, **kwargs: Any) -> None:
        self.error(*args, **kwargs)

    def access(self) -> None:
        """Write a line about the current request to the access log."""
        if not _has_handler(self.access_log):
            return
        exchange = current_exchange()
        request, response = exchange.request, exchange.response
        status = (response.output_status or b"-").partition(b" ")[0].decode()
        atoms = {
            "h": request.remote.name or request.remote.ip,
            "l": "-",
            "u": request.login or "-",
            "t": self.time(),
            "r": request.request_line,
            "s": status,
            "b": response.headers.get("Content-Length") or "-",
            "f": request.headers.get("Referer", ""),
            "a": request.headers.get("User-Agent", ""),
            "o": request.headers.get("Host", "-"),
            "i": request.unique_id,
            "z": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
        escaped = {name: _escaped(str(value)) for name, value in atoms.items()}
        try:
            self.access_log.info(self.access_log_format.format(**escaped))
        except Exception:
            self(traceback=True)

    def time(self) -> str:
        """Return the current time in the format of access logs: "[21/Nov/2026:10:00:00]"."""
        now = datetime.datetime.now()
        day = f"{now.day:02}/{_MONTHS[now.month - 1]}/{now.year:04}"
        return f"[{day}:{now.hour:02}:{now.minute:02}:{now.second:02}]"

    def reopen_files(self) -> None:
        """Close and reopen the log files. Call this after log files have been rotated."""
        for logger in (self.error_log, self.access_log):
            for handler in logger.handlers:
                if isinstance(handler, logging.FileHandler):
                    handler.close()  # the handler reopens the file for the next record

    @property
    def screen(self) -> bool:
        """Whether the logs are written to the terminal."""
        return self._get_builtin_handler(self.error_log, _SCREEN) is not None

    @screen.setter
    def screen(self, value: bool) -> None:
        self._set_screen_handler(self.error_log, value)
        self._set_screen_handler(self.access_log, value, sys.stdout)

    def _set_screen_handler(
        self, log: logging.Logger, enable: object, stream: TextIO | None = None
    ) -> None:
        """Start or stop writing one of the two logs to the terminal, by default to stderr. Programs
        call this method.
        """
        self._replace(log, _SCREEN, _Screen(stream) if enable else None)

    @property
    def wsgi(self) -> bool:
        """Whether a request's errors are written to the error log of the server."""
        return self._get_builtin_handler(self.error_log, _SERVER) is not None

    @wsgi.setter
    def wsgi(self, value: bool) -> None:
        self._replace(self.error_log, _SERVER, _ServerErrors() if value else None)

    def _get_builtin_handler(self, log: logging.Logger, key: str) -> logging.Handler | None:
        """Return a logger's handler of one kind ("screen", "file" or "wsgi") that was created here,
        or None. Programs call this method.
        """
        return next((one for one in log.handlers if getattr(one, "_cpbuiltin", "") == key), None)

    def _add_builtin_file_handler(self, log: logging.Logger, fname: StrPath) -> None:
        """Start writing one of the two logs to a file. Programs override this method."""
        # Open the file now: a server that loads the program as root may serve as another user, in
        # processes that inherit the open file.
        self._replace(log, "file", logging.FileHandler(fname, encoding="utf-8"))

    def _replace(self, log: logging.Logger, kind: str, handler: logging.Handler | None) -> None:
        """Replace a logger's built-in handler of one kind, or remove it if ``handler`` is None."""
        old = self._get_builtin_handler(log, kind)
        if old is not None:
            log.removeHandler(old)
            if kind == "file":
                old.close()
        if handler is not None:
            handler.setFormatter(logfmt)
            handler._cpbuiltin = kind  # type: ignore[attr-defined]
            log.addHandler(handler)

    error_file, access_file = _file_of("error_log"), _file_of("access_log")


class GlobalLogManager(LogManager):
    """``cherrypy.log``: writes to the log of the application that handles the current request, or
    to the global log outside of requests.
    """

    def __call__(self, *args: Any, **kwargs: Any) -> None:
        getattr(current_exchange().request.app, "log", self).error(*args, **kwargs)

    def access(self) -> None:
        """Write a line about the current request to its application's access log."""
        log_of_app = getattr(current_exchange().request.app, "log", None)
        if log_of_app is None:
            super().access()
        else:
            log_of_app.access()


_ACCESS = LogManager.access, GlobalLogManager.access


def notes_requests(manager: LogManager) -> bool:
    """Return whether an application's access log is written, or its method or that of
    ``cherrypy.log`` is replaced.
    """
    methods = tuple(getattr(one.access, "__func__", None) for one in (manager, log))
    return methods != _ACCESS or _has_handler(manager.access_log)


def _has_handler(logger: logging.Logger | None) -> bool:
    """Return whether a logger is enabled and has a handler that receives its lines."""
    if logger is not None and not logger.isEnabledFor(logging.INFO):
        return False
    while logger is not None:
        for handler in logger.handlers:
            if type(handler) is not logging.NullHandler:
                return True
        logger = logger.parent if logger.propagate else None
    return False


class _Screen(logging.StreamHandler[TextIO]):
    """Writes to the terminal, until the stream is closed: pytest closes its own before the engine
    logs that the process exits.
    """

    def emit(self, record: logging.LogRecord) -> None:
        if not getattr(self.stream, "closed", False):
            super().emit(record)


class _ServerErrors(logging.Handler):
    """Writes to ``wsgi.errors``, or under ASGI to stderr. Outside of requests it writes nothing."""

    def emit(self, record: logging.LogRecord) -> None:
        native = current.get(None)
        if native is not None:
            stream: Any = (native.environ or {}).get("wsgi.errors", sys.stderr)
            try:
                stream.write(f"{self.format(record)}\n")
                stream.flush()
            except Exception:
                self.handleError(record)


def _logger(name: str) -> logging.Logger:
    logger = logging.getLogger(name)
    logger.setLevel(logging.INFO)
    if not logger.handlers:
        # Without a handler, Python would write the logger's warnings to stderr.
        logger.addHandler(logging.NullHandler())
    return logger


def _escaped(text: str) -> str:
    """Escape line ends and quotes in a string, so that it can't forge a line of the log."""
    if text.isascii() and text.isprintable() and '"' not in text and "\\" not in text:
        return text
    return repr(text.encode("utf-8", "replace"))[2:-1].replace('"', '\\"')


log = GlobalLogManager()
log.screen = True  # until configuration says otherwise, as in CherryPy
