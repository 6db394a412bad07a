"""The body of a request: receiving its pieces from a driver, and parsing them as a form or JSON.

Open ``reader.py`` to change how bytes are counted and limited, ``receiving.py`` for which bodies
are received before the handler runs, ``received.py`` for how a body is stored and parsed, and
``form_parts.py`` for ``request.parts()``. ``micropie._core.http`` exports the names.
"""
