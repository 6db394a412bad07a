"""Second spellings: names of MicroPie, which applications that were written for it have, and short decorators.

Each is another spelling of a name that the documentation shows, and docs/reference/compatibility.md lists them all.
``App``, ``Request``, ``UploadFile`` and the hooks' plan take them from here, so this module imports none of these.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from micropie.errors import Redirect, ResponseError, SetupError
from micropie.execution import LOOP, MARK, PROCESS, THREAD, Completed

Function = TypeVar("Function", bound=Callable[..., object])


def _short_for(placement: str, name: str) -> Callable[[Function], Function]:
    def decorate(*functions: Function) -> Function:
        if len(functions) != 1 or isinstance(functions[0], str):  # not "callable": a classmethod is not
            raise SetupError(f"write @{name} above a function, without parentheses")
        setattr(functions[0], MARK, placement)
        return functions[0]

    decorate.__name__ = name
    decorate.__doc__ = f'Short for ``@run_in("{placement}")``.'
    return decorate


inline = _short_for(LOOP, "inline")
"""Short for ``@run_in("loop")``."""
threaded = _short_for(THREAD, "threaded")
"""Short for ``@run_in("thread")``."""
pooled = _short_for(PROCESS, "pooled")
"""Short for ``@run_in("process")``."""


class RequestHabits:
    """MicroPie's names of a ``Request``."""

    __slots__ = ()

    _exchange: Any
    _subapp: object = None  # a hook sets it: the application that gets the request instead
    _subapp_path: str | None = None

    @property
    def query_params(self) -> dict[str, list[str]]:
        """The query's parameters: name -> values. ``query`` is a multi-dict of the same."""
        found: dict[str, list[str]] = self._exchange.query
        return found

    @property
    def body_params(self) -> dict[str, list[Any]]:
        """The fields of the form or of the JSON body's top level: name -> values. ``form`` is a multi-dict of them."""
        found: dict[str, list[Any]] = self._exchange.fields
        return found

    @property
    def get_json(self) -> Any:
        """The JSON body, or None where ``json()`` raises 400 or 415."""
        return self._exchange.json_value()


class SocketHabits:
    """MicroPie's name of a ``WebSocket``."""

    __slots__ = ()

    request: Any

    @property
    def query_params(self) -> dict[str, list[str]]:
        """``request.query_params``"""
        found: dict[str, list[str]] = self.request.query_params
        return found


class UploadHabits:
    """MicroPie's names of an ``UploadFile``: ``upload["filename"]``, ``["content_type"]`` and ``["content"]``."""

    __slots__ = ()

    def __getitem__(self, name: str) -> Any:
        if name == "content":
            return UploadContent(self)
        if name not in ("filename", "content_type"):
            raise KeyError(name)
        return getattr(self, name)


class UploadContent:
    """``upload["content"]``: a file read like a queue: ``while chunk := await content.get():``."""

    __slots__ = ("_upload",)

    def __init__(self, upload: Any) -> None:
        self._upload = upload

    def get(self) -> Completed[bytes | None]:
        """Return up to 64 KiB, None at the end."""
        return Completed(self._upload.read(64 * 1024) or None)


class AppHabits:
    """MicroPie's names of an ``App``."""

    _micropie_is_framework = True
    _micropie: Any

    startup_handlers: list[Callable[[], object]]
    """Called one after the other before the first request; ``def`` or ``async def``. ``lifespan`` has both ends."""
    shutdown_handlers: list[Callable[[], object]]
    """Called one after the other after the last request; ``def`` or ``async def``."""

    def _render_template(self, name: str, /, **context: object) -> Awaitable[str]:
        """``render_async``"""
        rendered: Awaitable[str] = self._micropie.config().templates.render_async(name, context)
        return rendered

    def _redirect(
        self,
        location: str,
        status: int | Mapping[str, str] | Iterable[tuple[str, str]] = 303,
        *,
        headers: Mapping[str, str] | Iterable[tuple[str, str]] = (),
        extra_headers: Mapping[str, str] | Iterable[tuple[str, str]] | None = None,
        allow_external: bool = False,
        allow_http: bool = False,
    ) -> Redirect:
        """``Redirect``, whose second argument may also be headers: ``self._redirect("/there", [("X-Pie", "apple")])``.

        ``extra_headers`` is another name of ``headers``.
        """
        code, sent = (status, headers or extra_headers) if isinstance(status, int) else (303, status)
        return Redirect(location, code, headers=sent or (), allow_external=allow_external, allow_http=allow_http)


class ServerHabits:
    """The shortcuts of ``Server``: ``self.session`` for ``self.request.session``, and so on."""

    _micropie_is_framework = True

    request: Any
    _render_template: Callable[..., Awaitable[str]]
    _redirect: Callable[..., Redirect]

    @property
    def session(self) -> dict[str, Any]:
        """``self.request.session``"""
        session: dict[str, Any] = self.request.session
        return session

    @session.setter
    def session(self, values: dict[str, Any]) -> None:
        self.request.session = values

    @property
    def query_params(self) -> dict[str, list[str]]:
        """``self.request.query_params``"""
        found: dict[str, list[str]] = self.request.query_params
        return found

    @property
    def body_params(self) -> dict[str, list[Any]]:
        """``self.request.body_params``"""
        found: dict[str, list[Any]] = self.request.body_params
        return found

    @property
    def path_params(self) -> Sequence[Any]:
        """``self.request.path_params``"""
        found: Sequence[Any] = self.request.path_params
        return found

    @property
    def files(self) -> Mapping[str, Any]:
        """``self.request.files``"""
        found: Mapping[str, Any] = self.request.files
        return found

    def render_template(self, name: str, /, **context: object) -> Awaitable[str]:
        """``await self.render_template("index.html", ...)``"""
        return self._render_template(name, **context)

    def redirect(self, location: str) -> Redirect:
        """``return self.redirect("/there")``"""
        return self._redirect(location)


def status_of(changes: dict[str, Any], status: int, hook: str) -> Any:
    """Return the status in the dict that a hook returned, or ``status``. ``status_code`` is MicroPie's name for it."""
    found = changes.get("status", changes.get("status_code", status))
    if changes.get("status_code", found) != found:
        raise ResponseError(
            f"{hook} returned {changes!r}: status and status_code are two names of one value; write status"
        )
    return found
