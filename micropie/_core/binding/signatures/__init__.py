"""A handler's signature, compiled to a plan.

Open ``plan.py`` to change how a signature is compiled and called, and ``parameters.py`` to change
where a parameter's value is looked up, and in which order (``BY_NAME``). ``sources.py`` has the
sources that an annotation can declare, ``results.py`` reads the annotation of the result, and
``messages.py`` converts the messages of a WebSocket.
"""
