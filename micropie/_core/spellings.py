"""Alternative names of attributes and functions, for applications that were written for MicroPie.

The documentation uses the main names; docs/reference/compatibility.md lists the alternative ones.
The modules of ``App``, ``Request``, ``UploadFile`` and the hooks import this module, so it imports
none of them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import cached_property
from inspect import isfunction
from operator import attrgetter
from types import SimpleNamespace
from typing import Any

from micropie._core.errors import HeadersLike, Redirect, ResponseError
from micropie._core.execution import Action
from micropie._core.execution.placement import names_in
from micropie._core.execution.steps import Completed

SESSION_TIMEOUT = 8 * 3600
"""The default of ``App(session_timeout=...)``, in seconds."""


class MultipartFileError(Exception):
    """Exists for ``except`` clauses. It is never raised, because a malformed upload gets a 400
    before the handler runs.
    """


def attribute_of(path: str, sets: str = "") -> Any:
    """Return a property for the attribute at a path such as ``"request.session"``. Setting the
    property sets the attribute at the path ``sets``.
    """
    holder, _, name = sets.rpartition(".")

    def change(owner: object, value: object) -> None:
        setattr(attrgetter(holder)(owner), name, value)

    return property(attrgetter(path), change if sets else None)


class RequestSpellings:
    """The names that MicroPie has for attributes of ``Request``."""

    __slots__ = ()

    _exchange: Any
    _subapp: object = None  # a hook may set it to the application that handles the request
    _subapp_path: str | None = None

    query_params: dict[str, list[str]] = attribute_of("_exchange.query")
    """The query's parameters: name -> values. ``query`` returns them in a ``MultiDict``."""
    body_params: dict[str, list[Any]] = attribute_of("_exchange.received_fields")
    """The fields of the form or of the JSON body's top level: name -> values. ``form`` returns
    them in a ``MultiDict``. Hooks whose class reads this attribute get the body before they run,
    see ``reads_fields``.
    """

    @property
    def get_json(self) -> Any:
        """The JSON body, or None if ``json()`` would raise 400 or 415."""
        return self._exchange.json_value()

    def regenerate_session(self) -> Completed[None]:
        """Same as ``session.regenerate()``; the result can be awaited."""
        return Completed(self._exchange.opened_session().regenerate())


class SocketSpellings:
    """The name that MicroPie has for an attribute of ``WebSocket``."""

    __slots__ = ()

    query_params: dict[str, list[str]] = attribute_of("request.query_params")
    """Same as ``request.query_params``."""


class UploadSpellings:
    """The names that MicroPie has for attributes of ``UploadFile``: ``upload["filename"]``,
    ``["content_type"]`` and ``["content"]``.
    """

    __slots__ = ()

    def __getitem__(self, name: str) -> Any:
        if name == "content":
            return UploadContent(self)
        if name not in ("filename", "content_type"):
            raise KeyError(name)
        return getattr(self, name)


class UploadContent:
    """``upload["content"]``, which reads a file like a queue: ``while chunk := await
    content.get()``.
    """

    __slots__ = ("_upload",)

    def __init__(self, upload: Any) -> None:
        self._upload = upload

    def get(self) -> Completed[bytes | None]:
        """Return up to 64 KiB, or None at the end."""
        return Completed(self._upload.read(64 * 1024) or None)


class AppSpellings:
    """The names that MicroPie has for attributes of ``App``."""

    _micropie_is_framework = True
    _micropie: Any

    startup_handlers: list[Action]
    """Functions that are called one after the other before the first request; ``def`` or ``async
    def``. In a new application, use ``lifespan`` instead of startup and shutdown handlers.
    """
    shutdown_handlers: list[Action]
    """Functions that are called one after the other after the last request; ``def`` or ``async
    def``.
    """

    @cached_property
    def env(self) -> SimpleNamespace:
        """An object with the templates' dicts ``filters``, ``globals`` and ``tests``. Changing them
        has the same effect as the settings ``template_filters``, ``template_globals`` and
        ``template_setup``.
        """
        tree, names = self._micropie, SimpleNamespace(filters={}, globals={}, tests={})
        others = tree.settings.get("template_setup")

        def setup(environment: object) -> None:
            for name, values in vars(names).items():
                getattr(environment, name).update(values)
                setattr(names, name, getattr(environment, name))
            if others is not None:
                others(environment)

        tree.settings["template_setup"] = setup
        tree.changed()
        return names

    def _render_template(self, name: str, /, **context: object) -> Awaitable[str]:
        """Same as ``render_async``."""
        rendered: Awaitable[str] = self._micropie.config().templates.render_async(name, context)
        return rendered

    def _redirect(
        self,
        location: str,
        status: int | HeadersLike = 303,
        *,
        headers: HeadersLike = (),
        extra_headers: HeadersLike | None = None,
        allow_external: bool = False,
        allow_http: bool = False,
    ) -> Redirect:
        """Same as ``Redirect``, but the second argument may also be headers:
        ``self._redirect("/there", [("X-Pie", "apple")])``.

        ``extra_headers`` is another name for ``headers``.
        """
        code, sent = (
            (status, headers or extra_headers) if isinstance(status, int) else (303, status)
        )
        return Redirect(
            location, code, headers=sent or (), allow_external=allow_external, allow_http=allow_http
        )


class ServerSpellings:
    """The shortcuts of ``Server``: ``self.session`` for ``self.request.session``, and so on."""

    _micropie_is_framework = True

    _render_template: Callable[..., Awaitable[str]]
    _redirect: Callable[..., Redirect]

    session: dict[str, Any] = attribute_of("request.session", sets="request.session")
    """Same as ``self.request.session``."""
    query_params: dict[str, list[str]] = attribute_of("request.query_params")
    """Same as ``self.request.query_params``."""
    body_params: dict[str, list[Any]] = attribute_of("request.body_params")
    """Same as ``self.request.body_params``."""
    path_params: Sequence[Any] = attribute_of("request.path_params")
    """Same as ``self.request.path_params``."""
    files: Mapping[str, Any] = attribute_of("request.files")
    """Same as ``self.request.files``."""

    def render_template(self, name: str, /, **context: object) -> Awaitable[str]:
        """Render a template: ``await self.render_template("index.html", ...)``."""
        return self._render_template(name, **context)

    def redirect(self, location: str) -> Redirect:
        """Return a redirect: ``return self.redirect("/there")``."""
        return self._redirect(location)


def reads_fields(middleware: object) -> bool:
    """Return whether a method of a middleware's class reads ``body_params``. MicroPie parses a form
    before it calls hooks, so the flow has to receive the body first.
    """
    methods = [method for cls in type(middleware).__mro__ for method in vars(cls).values()]
    return any("body_params" in names_in(method) for method in filter(isfunction, methods))


def status_of(changes: Mapping[str, object], status: int, hook: str) -> Any:
    """Return the status in ``changes``, the dict that a hook returned, or else ``status``.

    The key is "status" or, as in MicroPie, "status_code".
    """
    found = changes.get("status", changes.get("status_code", status))
    if changes.get("status_code", found) != found:
        raise ResponseError(
            f"{hook} returned {changes!r}: status and status_code mean the same, but have "
            "different values; write only status"
        )
    return found
