"""``cherrypy.lib.reprconf``: applications use it to read their own configuration files."""

from micropie_compat.cherrypy.config import NamespaceSet, Parser
from micropie_compat.cherrypy.config import PlainConfig as Config
from micropie_compat.cherrypy.expressions import attributes, modules, unrepr

__all__ = [
    "Config",
    "NamespaceSet",
    "Parser",
    "attributes",
    "modules",
    "unrepr",
]
