"""A handler's signature, compiled to a plan.

Open ``plan.py`` to change how a signature is compiled and called, ``parameters.py`` for the places
of a parameter's value and their order (``BY_NAME``), ``sources.py`` for the sources that an
annotation declares, ``results.py`` for the annotation of the result, and ``messages.py`` for the
messages of a WebSocket.
"""
