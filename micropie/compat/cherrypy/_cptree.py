"""``cherrypy._cptree``, whose name applications use for its classes."""

from micropie.compat.cherrypy.tree import Application, Tree

__all__ = ["Application", "Tree"]
