"""Mounted applications: an ASGI or WSGI application below a prefix, under either kind of server.

``prefixes`` finds the mount of a path. ``asgi_in_wsgi`` runs an ASGI application under a WSGI server, and so on.
"""

from micropie.mounts.asgi_in_asgi import asgi_under_asgi, hand_over
from micropie.mounts.asgi_in_wsgi import asgi_under_wsgi
from micropie.mounts.lifespan import MountedLife
from micropie.mounts.prefixes import (
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
from micropie.mounts.wsgi_call import RawBody, WSGICall
from micropie.mounts.wsgi_in_asgi import environ_of, wsgi_under_asgi
from micropie.mounts.wsgi_in_wsgi import environ_below, wsgi_under_wsgi

__all__ = [
    "APP",
    "ASGI",
    "WSGI",
    "Mount",
    "MountedLife",
    "MountedPath",
    "PrefixTable",
    "RawBody",
    "WSGICall",
    "asgi_under_asgi",
    "asgi_under_wsgi",
    "checked_prefix",
    "environ_below",
    "environ_of",
    "hand_over",
    "kind_of_target",
    "mounted_path_of",
    "wsgi_under_asgi",
    "wsgi_under_wsgi",
]
