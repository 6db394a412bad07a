"""A handler's signature, compiled to a plan.

Open ``plan.py`` to change how a signature is compiled and called. The other files:

- ``parameters.py``: where a parameter's value is looked up, and in which order (``BY_NAME``)
- ``sources.py``: the sources that an annotation can declare
- ``results.py``: the annotation of the result
- ``messages.py``: the messages of a WebSocket
"""
