"""The session store, which loads and saves sessions, and the base class of session backends.

Open ``store.py`` to change the session's cookie and when a session is saved. The other files:

- ``backend.py``: the interface of backends
- ``memory.py``: the default backend
- ``serializer.py``: how a session's data becomes JSON

``micropie.sessions`` has the public names.
"""

from micropie._core.http import Changes, Session
from micropie._core.sessions.backend import SessionBackend
from micropie._core.sessions.memory import InMemorySessionBackend
from micropie._core.sessions.store import SessionStore
