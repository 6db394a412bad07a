"""The body of a request: receiving its pieces from a driver, and parsing them as a form or JSON.

Open ``reader.py`` to change how bytes are counted and limited. The other files:

- ``receiving.py``: which bodies are received before the handler runs
- ``received.py``: how a body is stored and parsed
- ``form_parts.py``: ``request.parts()``

Import the public names of these modules from ``micropie._core.http``.
"""
