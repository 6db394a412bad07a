"""The process around an application: the bus, its plugins and its servers."""

from micropie.compat.cherrypy.process.wspbus import Bus as Bus
from micropie.compat.cherrypy.process.wspbus import bus as bus
