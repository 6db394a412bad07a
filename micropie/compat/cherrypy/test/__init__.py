"""``cherrypy.test``: what CherryPy gives applications for their own tests.

Open ``helper.py`` to change ``CPWebCase``.
"""
