"""The process around an application: the bus, its plugins and its servers."""

from micropie.compat.cherrypy.process.wspbus import Bus as Bus
from micropie.compat.cherrypy.process.wspbus import bus as bus
from micropie.compat.missing import tell


def __getattr__(name: str) -> object:
    tell(__name__, name)
