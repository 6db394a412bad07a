"""Stands in for the package ``cherrypy``: ``from micropie.compat import cherrypy``."""
