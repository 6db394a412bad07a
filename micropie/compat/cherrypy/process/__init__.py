"""Control of the process in which applications run: the bus, its plugins, and servers.

Where to change what: ``wspbus.py`` has the bus and its states, ``plugins.py`` tasks that run beside
requests, ``servers.py`` servers that a program starts itself.
"""

from micropie.compat.cherrypy.process.wspbus import Bus as Bus
from micropie.compat.cherrypy.process.wspbus import bus as bus
from micropie.compat.missing import tell


def __getattr__(name: str) -> object:
    tell(__name__, name)
