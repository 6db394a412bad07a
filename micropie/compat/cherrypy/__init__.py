"""Stands in for the module ``cherrypy``: ``from micropie.compat import cherrypy``."""
