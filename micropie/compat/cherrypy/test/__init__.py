"""``cherrypy.test``: the test case that CherryPy offers for applications' own tests.

Open ``helper.py`` to change ``CPWebCase``.
"""
