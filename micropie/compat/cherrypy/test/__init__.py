"""``cherrypy.test``: the test case that CherryPy offers for applications' own tests.

``CPWebCase`` is in ``helper.py``.
"""
