"""Call ASGI and WSGI applications that are mounted under a prefix, whether the server is ASGI or
WSGI.

Open ``prefixes.py`` to change which mount a path belongs to and which path the application sees.
The other files:

- ``asgi_call.py``, ``wsgi_call.py`` and ``wsgi_in_asgi.py``: how an application is called
- ``response.py``: how an application's response is passed on
- ``lifespan.py``: the startup and shutdown of an application
- ``bridge.py``: ``mount(bridge=...)``

Prefixes are compared with a path segment by segment, as bytes, because the path need not be UTF-8.
An ``App`` that shares sessions and hooks with the outer application is compiled to a ``Site`` under
its prefix. An isolated ``App`` is called through the server's protocol (ASGI or WSGI), after the
access checks. Any other application becomes the handler of a route (``MountRoute``). This handler
returns a ``Response`` whose body is a stream, so hooks, sessions and error pages apply to it as to
any other response.

An ASGI application under WSGI runs on the background loop. Switching to another thread and back
takes longer than creating most responses, so a response in one piece needs a single switch: nothing
waits for a task or a thread to start, the last chunk is passed on together with the end, and a
short body is received in advance. When the client has disconnected, an ASGI application that waits
in ``receive`` gets ``http.disconnect`` before it is cancelled. If an application that has started
tasks, such as Django's handler, were cancelled at once, it would leave the tasks running.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from micropie._core.mounts.prefixes import (
    APP,
    ASGI,
    WSGI,
    Mount,
    MountedPath,
    PrefixTable,
    checked_prefix,
    kind_of_target,
    mounted_path_of,
)
from micropie._core.on_demand import names_on_demand

if TYPE_CHECKING:
    from micropie._core.mounts.asgi_call import asgi_under_wsgi, call_asgi, moved_scope
    from micropie._core.mounts.bridge import bridged_mount
    from micropie._core.mounts.lifespan import MountedLife
    from micropie._core.mounts.wsgi_call import RawBody, WSGICall, environ_below, wsgi_under_wsgi
    from micropie._core.mounts.wsgi_in_asgi import environ_of, wsgi_under_asgi

# Import these modules on first use: many sites don't need them, and importing them takes longer
# than importing the rest of ``mounts``.
__getattr__, __dir__ = names_on_demand(
    __name__,
    {
        "asgi_call": "asgi_under_wsgi call_asgi moved_scope",
        "bridge": "bridged_mount",
        "lifespan": "MountedLife",
        "wsgi_call": "RawBody WSGICall environ_below wsgi_under_wsgi",
        "wsgi_in_asgi": "environ_of wsgi_under_asgi",
    },
)
