"""``micropie check --from cherrypy PATH``: the places of a CherryPy or Bottle application that need a hand to move.

The source is read, and not run. Names that ``micropie.compat`` has are not listed.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from micropie.cli.target import CommandError


class Finding(NamedTuple):
    """A place in a source file, and the text to write there."""

    file: Path
    line: int
    name: str
    advice: str


# Names, also as the beginning of longer ones, and the native way.
CHERRYPY: Mapping[str, str] = {
    "cherrypy.dispatch.RoutesDispatcher": 'write @route("/path/<name>") above the handlers',
    "cherrypy.dispatch.XMLRPCDispatcher": "expose a method that reads cherrypy.request.body by xmlrpc.client.loads",
    "cherrypy.tools.xmlrpc": "expose a method that reads cherrypy.request.body by xmlrpc.client.loads",
    "cherrypy.lib.xmlrpcutil": "expose a method that reads cherrypy.request.body by xmlrpc.client.loads",
    "cherrypy.lib.cpstats": "use micropie.middleware.AccessLog, or metrics of the server",
    "cherrypy.lib.profiler": "profile with py-spy or cProfile from outside",
    "cherrypy.lib.covercp": "measure with coverage run -m pytest",
    "cherrypy.lib.gctools": "use tracemalloc",
    "cherrypy.process.plugins.PerpetualTimer": "write BackgroundTask(interval, function)",
    "cherrypy.process.servers": "start a server: micropie run app:app, gunicorn, uvicorn",
    "cherrypy.process.win32": "run the server as a service by a service manager",
    "cherrypy.wsgiserver": "start a server: micropie run app:app, gunicorn, uvicorn",
    "cherrypy._cpwsgi_server": "start a server: micropie run app:app, gunicorn, uvicorn",
    "cherrypy.server.httpserver": "start a server: micropie run app:app, gunicorn, uvicorn",
    "cherrypy.lib.sessions.MemcachedSession": "sessions in Redis: tools.sessions.backend = RedisSessionBackend(url)",
    "cherrypy._cplogging": "use cherrypy.log, or logging",
    "cherrypy._cpwsgi.CPWSGIApp": "wrap the application itself, or append to cherrypy.tree.native.middlewares",
    "cherrypy._cpwsgi.InternalRedirector": "wrap the application itself, or append to cherrypy.tree.native.middlewares",
    "cherrypy._cpwsgi.ExceptionTrapper": "wrap the application itself, or append to cherrypy.tree.native.middlewares",
    "cherrypy.wsgi.CPWSGIApp": "wrap the application itself, or append to cherrypy.tree.native.middlewares",
    "cherrypy.wsgi.InternalRedirector": "wrap the application itself, or append to cherrypy.tree.native.middlewares",
    "cherrypy.wsgi.ExceptionTrapper": "wrap the application itself, or append to cherrypy.tree.native.middlewares",
    "cherrypy.test": "test with micropie.testing.TestClient",
    "cherrypy._cpdispatch.test_callable_spec": "leave it out: arguments that do not fit are answered by 404 or 400",
    "cherrypy._cpdispatch.validate_translator": "write a dispatcher of your own: a function of the path",
    "cherrypy._cpdispatch.getargspec": "use inspect.signature",
    "cheroot": "start a server: micropie run app:app, gunicorn, uvicorn",
    "ws4py": "write a WebSocket handler: async def ws_name(self, ws)",
    "memcache": "sessions in Redis: tools.sessions.backend = RedisSessionBackend(url)",
}
BOTTLE: Mapping[str, str] = {
    "bottle.CherootServer": 'choose a server by run(server="..."), or micropie run --server',
    "bottle.FapwsServer": 'choose a server by run(server="..."), or micropie run --server',
    "bottle.TornadoServer": 'choose a server by run(server="..."), or micropie run --server',
    "bottle.AppEngineServer": "start a server: gunicorn app:app",
    "bottle.TwistedServer": 'choose a server by run(server="..."), or micropie run --server',
    "bottle.GeventServer": 'use async def handlers, or gunicorn -k gthread; run(server="gevent") has no stand-in',
    "bottle.EventletServer": 'use async def handlers, or gunicorn -k gthread; run(server="eventlet") has no stand-in',
    "bottle.BjoernServer": "use another server: gunicorn app:app, uvicorn app:app",
    "bottle.CheetahTemplate": "use jinja2_template",
    "bottle.cheetah_template": "use jinja2_template",
    "bottle.cheetah_view": "use jinja2_view",
    "bottle.FileCheckerThread": "micropie run --reload",
    "bottle.cookie_encode": "use response.set_cookie(name, value, secret=...)",
    "bottle.cookie_decode": "use request.get_cookie(name, secret=...)",
    "gevent": "use async def handlers: threads are what def handlers have",
    "eventlet": "use async def handlers: threads are what def handlers have",
    "geventwebsocket": "write a WebSocket handler: async def ws_name(self, ws)",
    "bottle_websocket": "write a WebSocket handler: async def ws_name(self, ws)",
    "paste": "use the WSGI application itself: app.mount(prefix, application)",
}
ORIGINS = {"cherrypy": CHERRYPY, "bottle": BOTTLE}

# Keys of CherryPy's configuration, which are strings in the source.
CONFIG_KEYS: Mapping[str, str] = {
    "tools.sessions.servers": "sessions in Redis: tools.sessions.backend = RedisSessionBackend(url)",
    "tools.xmlrpc.": "expose a method that reads cherrypy.request.body by xmlrpc.client.loads",
    "tools.cpstats.": "use micropie.middleware.AccessLog, or metrics of the server",
    "server.ssl_certificate_chain": "append the chain to the file of server.ssl_certificate",
    "server.ssl_ciphers": "serve by a server that has them: uvicorn --ssl-ciphers",
    "server.ssl_context": "serve by a server that has it: uvicorn, hypercorn",
    "server.socket_file": "serve by uvicorn --uds, or gunicorn --bind unix:FILE",
    "wsgi.pipeline": "wrap the application itself, or append to cherrypy.tree.native.middlewares",
}


def findings(origin: str, path: Path) -> Iterator[Finding]:
    """Yield the places in the Python files at ``path`` that need a hand. Raises ``CommandError`` without such files."""
    files = sorted(path.rglob("*.py")) if path.is_dir() else [path]
    if not files or not all(file.is_file() for file in files):
        raise CommandError(f"there are no Python files at {path}")
    for file in files:
        try:
            tree = ast.parse(file.read_bytes(), file.name)
        except (SyntaxError, ValueError) as error:
            line = getattr(error, "lineno", None) or 1
            yield Finding(file, line, "syntax", f"this Python can't read it: {error}")
            continue
        yield from sorted(_in_module(origin, file, tree))


def _in_module(origin: str, file: Path, tree: ast.Module) -> Iterator[Finding]:
    table, names = ORIGINS[origin], _imported_names(tree)
    seen: set[tuple[int, str]] = set()
    for node in ast.walk(tree):
        dotted = _dotted(node, names)
        for name in [dotted] if dotted else _imports(node):
            key = next((key for key in table if name == key or name.startswith(key + ".")), None)
            line = getattr(node, "lineno", 1)
            if key is not None and (line, key) not in seen:
                seen.add((line, key))
                yield Finding(file, line, name, table[key])
        if origin == "cherrypy" and isinstance(node, ast.Constant) and isinstance(node.value, str):
            key = next((key for key in CONFIG_KEYS if node.value.startswith(key)), None)
            if key is not None:
                yield Finding(file, node.lineno, repr(node.value), CONFIG_KEYS[key])


def _imported_names(tree: ast.Module) -> dict[str, str]:
    """Return the full names behind the names of a module: ``cherrypy`` for ``cp``."""
    names: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                first = alias.name.partition(".")[0]
                names[alias.asname or first] = alias.name if alias.asname else first
        elif isinstance(node, ast.ImportFrom):
            for alias, name in zip(node.names, _imports(node), strict=False):  # a relative import has no names
                names[alias.asname or alias.name] = name
    return names


def _imports(node: ast.AST) -> list[str]:
    """Return the modules and names that a statement imports."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom) and node.module is not None and node.level == 0:
        return [f"{node.module}.{alias.name}" for alias in node.names]
    return []


def _dotted(node: ast.AST, names: dict[str, str]) -> str:
    """Return the full name of ``cp.engine.autoreload``, or "" for anything else."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.insert(0, node.attr)
        node = node.value
    if not isinstance(node, ast.Name) or node.id not in names:
        return ""
    return ".".join([names[node.id], *parts])
