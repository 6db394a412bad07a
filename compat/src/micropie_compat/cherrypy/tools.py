"""The built-in tools, each with its hook point and its priority."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from micropie_compat.cherrypy.hooks import HookMap
from micropie_compat.cherrypy.lib import (
    auth_basic,
    auth_digest,
    caching,
    cptools,
    encoding,
    jsontools,
    sessions,
    static,
)
from micropie_compat.cherrypy.serving import serving
from micropie_compat.cherrypy.toolbox import (  # noqa: F401 - re-exported by _cptools
    ErrorTool,
    HandlerTool,
    HandlerWrapperTool,
    Tool,
    Toolbox,
)
from micropie_compat.cherrypy.types import Section
from micropie_compat.missing import tell


class SessionTool(Tool):
    """``tools.sessions``: provides each request's session, see ``lib.sessions``."""

    def __init__(self) -> None:
        super().__init__("before_request_body", sessions.init)

    def _lock_session(self) -> None:
        serving.session.acquire_lock()

    def _attach(self, hooks: HookMap, options: Section) -> None:
        locking = options.pop("locking", "implicit") or "explicit"
        if locking not in ("implicit", "early", "explicit"):
            raise ValueError(
                f"tools.sessions.locking must be 'implicit', 'early' or 'explicit', not {locking!r}"
            )
        super()._attach(hooks, options)
        if locking == "implicit":
            hooks.attach("before_handler", self._lock_session)
        elif locking == "early":
            hooks.attach("before_request_body", self._lock_session, priority=60)
        hooks.attach("before_finalize", sessions.save)
        hooks.attach("on_end_request", sessions.close)

    def regenerate(self) -> None:
        """Give the session a new id, and set the cookie again with the tool's options."""
        serving.session.regenerate()
        serving.session.micropie_set_cookie()


class CachingTool(Tool):
    """``tools.caching``: sends cached responses, see ``lib.caching``."""

    micropie_called = "_wrapper"

    def __init__(self) -> None:
        super().__init__("before_handler", caching.get, "caching")

    def _wrapper(self, **options: Any) -> None:
        request = serving.request
        if caching.get(**options):
            request.handler = None
        elif request.cacheable:
            request.hooks.attach("before_finalize", caching.tee_output, priority=100)

    def _attach(self, hooks: HookMap, options: Section) -> None:
        options.setdefault("priority", 90)
        super()._attach(hooks, options)


class SessionAuthTool(HandlerTool):
    """``tools.session_auth``: requires a log-in. Its options are the attributes of
    ``lib.cptools.SessionAuth``.
    """


def _xmlrpc() -> Any:
    """Import what few programs need."""
    return import_module("micropie_compat.cherrypy.lib.xmlrpcutil")


def default_toolbox() -> Toolbox:
    """Return a toolbox with all built-in tools, for ``cherrypy.tools``."""
    box = Toolbox("tools")
    box.session_auth = SessionAuthTool(cptools.session_auth)
    box.allow = Tool("on_start_resource", cptools.allow)
    box.proxy = Tool("before_request_body", cptools.proxy, priority=30)
    box.response_headers = Tool("on_start_resource", cptools.response_headers)
    box.log_tracebacks = Tool("before_error_response", cptools.log_traceback)
    box.log_headers = Tool("before_error_response", cptools.log_request_headers)
    box.log_hooks = Tool("on_end_request", cptools.log_hooks, priority=100)
    box.err_redirect = ErrorTool(cptools.redirect)
    box.etags = Tool("before_finalize", cptools.validate_etags, priority=75)
    box.decode = Tool("before_request_body", encoding.decode)
    # Tools with a higher ``priority`` number run after ``encode``, so they get an encoded body.
    box.encode = Tool("before_handler", encoding.ResponseEncoder, priority=70)
    box.gzip = Tool("before_finalize", encoding.gzip, priority=80)
    box.staticdir = HandlerTool(static.staticdir)
    box.staticfile = HandlerTool(static.staticfile)
    box.sessions = SessionTool()
    box.caching = CachingTool()
    box.expires = Tool("before_finalize", caching.expires)
    box.ignore_headers = Tool("before_request_body", cptools.ignore_headers)
    box.referer = Tool("before_request_body", cptools.referer)
    box.trailing_slash = Tool("before_handler", cptools.trailing_slash, priority=60)
    box.flatten = Tool("before_finalize", cptools.flatten)
    box.accept = Tool("on_start_resource", cptools.accept)
    box.redirect = Tool("on_start_resource", cptools.redirect)
    box.autovary = Tool("on_start_resource", cptools.autovary, priority=0)
    box.json_in = Tool("before_request_body", jsontools.json_in, priority=30)
    box.json_out = Tool("before_handler", jsontools.json_out, priority=30)
    box.auth_basic = Tool("before_handler", auth_basic.basic_auth, priority=1)
    box.auth_digest = Tool("before_handler", auth_digest.digest_auth, priority=1)
    box.xmlrpc = ErrorTool(lambda **options: _xmlrpc().on_error())
    box.params = Tool("before_handler", cptools.convert_params, priority=15)
    return box


def __getattr__(name: str) -> object:
    if name == "XMLRPCController":
        return _xmlrpc().XMLRPCController
    tell("cherrypy._cptools", name)
