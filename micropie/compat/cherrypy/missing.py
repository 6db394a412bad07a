"""What moved programs may ask for and is not here, with what to write."""

from __future__ import annotations

from typing import NoReturn

_XMLRPC = "expose a method that reads cherrypy.request.body by xmlrpc.client.loads"
_MEASURE = "measure from outside: py-spy, coverage run, tracemalloc; or micropie.middleware.AccessLog"

_ADVICE = {
    "XMLRPCController": _XMLRPC,
    "XMLRPCTool": _XMLRPC,
    "MemcachedSession": "write tools.sessions.backend = RedisSessionBackend(url)",
    "covercp": _MEASURE,
    "cpstats": _MEASURE,
    "gctools": _MEASURE,
    "profiler": _MEASURE,
    "xmlrpcutil": _XMLRPC,
    "servers": "any WSGI or ASGI server serves cherrypy.tree",
    "win32": "have a manager of services run the program",
}


def tell(module: str, name: str) -> NoReturn:
    """Raise the error for a name that ``module`` does not have: an ``ImportError``, whose words ``from`` keeps."""
    if name in _ADVICE:
        raise ImportError(f"{module} has no {name} here: {_ADVICE[name]}")
    raise AttributeError(f"module {module!r} has no attribute {name!r}")
