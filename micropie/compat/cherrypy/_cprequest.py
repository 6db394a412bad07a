"""``cherrypy._cprequest``, whose name applications use for its classes."""

from micropie.compat.cherrypy.hooks import HOOKPOINTS as hookpoints  # noqa: N811 - its name there
from micropie.compat.cherrypy.hooks import Hook, HookMap
from micropie.compat.cherrypy.messages import Request, Response

__all__ = ["Hook", "HookMap", "Request", "Response", "hookpoints"]
