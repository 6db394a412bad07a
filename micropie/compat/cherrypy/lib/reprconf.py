"""``cherrypy.lib.reprconf``, whose name applications use to read configuration files of their
own.
"""

from micropie.compat.cherrypy.config import NamespaceSet, Parser
from micropie.compat.cherrypy.config import PlainConfig as Config
from micropie.compat.cherrypy.expressions import attributes, modules, unrepr

__all__ = ["Config", "NamespaceSet", "Parser", "attributes", "modules", "unrepr"]
