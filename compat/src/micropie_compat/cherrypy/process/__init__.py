"""``cherrypy.process``: the bus, its plugins and servers, which control the process in which
applications run.

Open ``wspbus.py`` to change the bus and its states, ``plugins.py`` for tasks that run beside
requests, ``servers.py`` for servers that a program starts itself.
"""

from micropie_compat.cherrypy.process.wspbus import Bus as Bus
from micropie_compat.cherrypy.process.wspbus import bus as bus
from micropie_compat.missing import tell


def __getattr__(name: str) -> object:
    tell(__package__, name)
