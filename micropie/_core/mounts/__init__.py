"""Mounted applications: an ASGI or WSGI application below a prefix, under either kind of server.

``prefixes.py`` finds the mount of a path, as raw segments, since a mounted application's path need
not be UTF-8. An ``App`` that shares sessions and hooks is a ``Site`` below its prefix. An isolated
``App`` gets the server's own call, after the hooks that guard. Any other application is the handler
of a route (``MountRoute``), which gives a ``Response`` whose body is a stream: hooks, sessions and
errors surround it as they surround a handler.

``asgi_call.py`` calls an ASGI application, under WSGI on the background loop; ``wsgi_call.py``
calls one of WSGI, and ``wsgi_in_asgi.py`` has it do so under ASGI. A way to another thread and back
costs more than most answers, so an answer in one piece takes one: nothing waits for a task or a
thread to start, the last chunk comes with the end, and a short body is read ahead. When the client
has left, an ASGI application that waits in ``receive`` is told so before it is cancelled: one that
has made tasks, as Django's handler does, would leave them behind otherwise. ``lifespan.py`` runs
the lifespans. ``bridge.py`` has the bridge of somebody else that ``mount(bridge=...)`` names: the
application inside it is mounted as one of the server's protocol.
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

# fmt: off
if TYPE_CHECKING:
    from micropie._core.mounts.asgi_call import asgi_under_wsgi, call_asgi, moved_scope
    from micropie._core.mounts.bridge import bridged_mount
    from micropie._core.mounts.lifespan import MountedLife
    from micropie._core.mounts.wsgi_call import RawBody, WSGICall, environ_below, wsgi_under_wsgi
    from micropie._core.mounts.wsgi_in_asgi import environ_of, wsgi_under_asgi

__all__ = [
    "APP", "ASGI", "WSGI", "Mount", "MountedLife", "MountedPath", "PrefixTable", "RawBody",
    "WSGICall", "asgi_under_wsgi", "bridged_mount", "call_asgi", "checked_prefix", "environ_below",
    "environ_of", "kind_of_target", "mounted_path_of", "moved_scope", "wsgi_under_asgi",
    "wsgi_under_wsgi",
]
# fmt: on

# What a site does not use is not imported: it would take longer than the rest.
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
