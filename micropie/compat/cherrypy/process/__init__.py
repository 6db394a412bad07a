"""The process around an application: the bus, its plugins and its servers."""

from micropie.compat.cherrypy.missing import tell
from micropie.compat.cherrypy.process.wspbus import Bus as Bus
from micropie.compat.cherrypy.process.wspbus import bus as bus


def __getattr__(name: str) -> object:
    tell("cherrypy.process", name)
