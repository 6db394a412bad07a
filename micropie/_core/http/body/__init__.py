"""The body of a request, from the pieces that a driver receives to forms and JSON.

Open ``reader.py`` to change how bytes are counted and limited, ``receiving.py`` for which bodies
are received ahead of the handler, ``received.py`` for how a body is stored and parsed, and
``form_parts.py`` for ``request.parts()``. ``micropie._core.http`` exports the names.
"""
