"""``cherrypy._cptools``, whose name applications use for its classes."""

from micropie.compat.cherrypy.toolbox import ErrorTool, HandlerTool, HandlerWrapperTool, Tool, Toolbox

__all__ = ["ErrorTool", "HandlerTool", "HandlerWrapperTool", "Tool", "Toolbox"]
