"""A handler's signature, compiled to a plan.

``plan.py`` compiles and calls signatures. ``parameters.py`` has the places from which a parameter
gets its value, and their order (``BY_NAME``). ``sources.py`` has the sources that an annotation can
declare, ``results.py`` the annotation of the result, and ``messages.py`` the messages of a
WebSocket.
"""
