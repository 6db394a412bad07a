"""``cherrypy.lib.reprconf``: exists because applications read their own configuration files with
it.
"""

from micropie.compat.cherrypy.config import NamespaceSet, Parser
from micropie.compat.cherrypy.config import PlainConfig as Config
from micropie.compat.cherrypy.expressions import attributes, modules, unrepr

__all__ = ["Config", "NamespaceSet", "Parser", "attributes", "modules", "unrepr"]
