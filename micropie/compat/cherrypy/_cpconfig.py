"""``cherrypy._cpconfig``, whose name applications use for its classes."""

from micropie.compat.cherrypy.config import Config, NamespaceSet, load, merge
from micropie.compat.cherrypy.lib import reprconf

__all__ = ["Config", "NamespaceSet", "load", "merge", "reprconf"]
