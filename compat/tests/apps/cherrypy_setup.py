"""Settings that all applications here share; every one of them is mounted on the one tree."""

import cherrypy

cherrypy.config.update(
    {
        "log.screen": False,
        "request.show_tracebacks": False,
        "engine.autoreload.on": False,
        "checker.on": False,
    }
)
app = cherrypy.tree
