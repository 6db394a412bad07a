"""``cherrypy._cptools``, whose name applications use for its classes."""

from micropie.compat.cherrypy.missing import tell
from micropie.compat.cherrypy.toolbox import ErrorTool, HandlerTool, HandlerWrapperTool, Tool, Toolbox
from micropie.compat.cherrypy.tools import CachingTool, SessionAuthTool, SessionTool, default_toolbox

__all__ = [
    "CachingTool",
    "ErrorTool",
    "HandlerTool",
    "HandlerWrapperTool",
    "SessionAuthTool",
    "SessionTool",
    "Tool",
    "Toolbox",
    "default_toolbox",
]


def __getattr__(name: str) -> object:
    tell("cherrypy._cptools", name)
