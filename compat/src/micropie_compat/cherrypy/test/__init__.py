"""``cherrypy.test``: the test case class that CherryPy provides for tests of applications.

Open ``helper.py`` to change ``CPWebCase``.
"""
