"""Names that the compatibility modules lack, with advice on what to use instead. Importing such a
name raises an error with the advice, and ``micropie check`` reports it.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from types import ModuleType
from typing import Any, NoReturn

_SERVER = 'start a server, such as gunicorn, uvicorn or "micropie run app:app"'
_XMLRPC = "expose a method that reads cherrypy.request.body with xmlrpc.client.loads"
_STATISTICS = "use micropie.middleware.AccessLog, or the server's metrics"
_REDIS = "store sessions in Redis: write tools.sessions.backend = RedisSessionBackend(url)"
_WRAP = (
    "for WSGI middleware, write app = micropie.dual(YourMiddleware(cherrypy.tree)); append "
    "micropie middleware to cherrypy.tree.native.middlewares"
)
_ASYNC = "remove this or write async def handlers: def handlers already run in threads"
_SOCKET = "write a WebSocket handler: async def ws_name(self, ws)"
_RUN = 'choose a server with run(server="...") or micropie run --server'
_GEVENT = "use async def handlers, or gunicorn -k gthread"
_JINJA = "use jinja2_template and jinja2_view"
_PORTEND = "use the package portend"
_AUTH = "use tools.auth_basic with realm and checkpassword, or tools.auth_digest"
_UNTIMED = "leave it out: CherryPy has had no response timeout since version 12"

# The first words of the message for a name that has no entry in ``ADVICE``.
UNKNOWN = "the compatibility module has no"

# Values of ``bottle.run(server=...)`` that only the original supports, each with advice.
SERVERS: Mapping[str, str] = {
    **dict.fromkeys(
        (
            *("aiohttp", "bjoern", "cgi", "diesel", "fapws3", "flup", "gae"),
            *("geventSocketIO", "meinheld", "paste", "rocket", "tornado", "twisted", "uvloop"),
        ),
        _RUN,
    ),
    "cherrypy": 'write server="cheroot"',
    "eventlet": _GEVENT,
    "gevent": _GEVENT,
}

# The advice by dotted name. The entry for a module or a class also applies to all names in it.
ADVICE: Mapping[str, str] = {
    "cherrypy.dispatch.RoutesDispatcher": 'write @cherrypy.tree.native.get("/path/<name>")',
    "cherrypy.dispatch.XMLRPCDispatcher": _XMLRPC,
    "cherrypy.tools.xmlrpc": _XMLRPC,
    "cherrypy._cptools.XMLRPCController": _XMLRPC,
    "cherrypy._cptools.XMLRPCTool": _XMLRPC,
    "cherrypy.lib.xmlrpcutil": _XMLRPC,
    "cherrypy.lib.cpstats": _STATISTICS,
    "cherrypy.tools.cpstats": _STATISTICS,
    "cherrypy.lib.profiler": 'profile the whole program with py-spy or "python -m cProfile"',
    "cherrypy.lib.covercp": 'measure coverage with "coverage run -m pytest"',
    "cherrypy.lib.gctools": "use tracemalloc",
    "cherrypy.lib.sessions.MemcachedSession": _REDIS,
    "cherrypy.process.plugins.PerpetualTimer": "write BackgroundTask(interval, function)",
    "cherrypy.process.win32": "run the server with a service manager",
    "cherrypy.daemon": "run the program itself: python shop.py, or micropie run shop:app",
    "cherrypy.scaffold": "create a first application with micropie new",
    "cherrypy.wsgiserver": _SERVER,
    "cherrypy._cpwsgi_server": _SERVER,
    "cherrypy._cpnative_server": _SERVER,
    "cherrypy._cpmodpy": _SERVER,
    "cherrypy.server.httpserver": _SERVER,
    **dict.fromkeys(
        [f"cherrypy.process.servers.Flup{kind}Server" for kind in ("CGI", "FCGI", "SCGI")], _SERVER
    ),
    "cherrypy.Application.wsgiapp": _WRAP,
    **dict.fromkeys(
        [
            f"cherrypy.{module}.{name}"
            for module in ("_cpwsgi", "wsgi")
            for name in ("CPWSGIApp", "InternalRedirector", "ExceptionTrapper", "AppResponse")
        ],
        _WRAP,
    ),
    "cherrypy.test.webtest": "test with cherrypy.test.helper.CPWebCase",
    "cherrypy._cpchecker": "run micropie check --from cherrypy",
    "cherrypy._cpdispatch.test_callable_spec": ("leave it out: invalid arguments get a 404 or 400"),
    "cherrypy._cpdispatch.validate_translator": (
        "write your own dispatcher, a function that takes the path"
    ),
    "cherrypy._cpdispatch.getargspec": "use inspect.signature",
    # Names that CherryPy itself has removed. The number after a name is the CherryPy version
    # that removed it.
    "cherrypy.restsrv": "write cherrypy.process",  # 3.1
    "cherrypy.lib.cptools.serve_file": "write cherrypy.lib.static.serve_file",  # 3.1
    **{
        f"cherrypy.engine.on_{end}_engine_list": (  # 3.1
            f'write cherrypy.engine.subscribe("{end}", function)'
        )
        for end in ("start", "stop")
    },
    "cherrypy.server.quickstart": "write cherrypy.engine.start()",  # 3.1
    "cherrypy.lib.sessions.PostgresqlSession": _REDIS,  # 5.4
    "cherrypy.lib.http": "write cherrypy.lib.httputil",  # 8
    **{
        f"cherrypy.lib.{name}": f"write cherrypy.lib.reprconf.{name}"  # 8
        for name in ("attributes", "modules", "unrepr")
    },
    **dict.fromkeys(
        [
            f"cherrypy.{module}.{name}"  # 10
            for module in ("_cpserver", "process.servers")
            for name in ("check_port", "client_host", "wait_for_free_port")
        ],
        _PORTEND,
    ),
    "cherrypy._cpserver.wait_for_occupied_port": _PORTEND,
    "cherrypy.process.servers.wait_for_occupied_port": _PORTEND,
    "cherrypy.engine.timeout_monitor": _UNTIMED,
    "cherrypy.response.check_timeout": _UNTIMED,
    "cherrypy.response.timed_out": _UNTIMED,
    "cherrypy.tools.nsgmls": "leave it out",  # 14
    "cherrypy.tools.tidy": "leave it out",  # 14
    "cherrypy.lib.auth": _AUTH,  # 16
    "cherrypy.lib.httpauth": _AUTH,
    "cherrypy.tools.basic_auth": _AUTH,
    "cherrypy.tools.digest_auth": _AUTH,
    "cherrypy.request.body_params": "write cherrypy.request.body.params",  # 16
    "cherrypy.request.body.type": "write cherrypy.request.body.content_type",  # 16
    "ws4py.server": _SOCKET,
    "ws4py.websocket": _SOCKET,
    **dict.fromkeys(
        [
            f"bottle.{name}"
            for name in (
                *(
                    "AiohttpServer",
                    "AiohttpUVLoopServer",
                    "AppEngineServer",
                    "AsyncioServerAdapter",
                    "BjoernServer",
                ),
                *(
                    "CGIServer",
                    "CherryPyServer",
                    "DieselServer",
                    "FapwsServer",
                    "FlupFCGIServer",
                    "MeinheldServer",
                ),
                *("PasteServer", "TornadoServer", "TwistedServer"),
            )
        ],
        _RUN,
    ),
    "bottle.GeventServer": SERVERS["gevent"],
    "bottle.EventletServer": SERVERS["eventlet"],
    "bottle.CheetahTemplate": _JINJA,
    "bottle.cheetah_template": _JINJA,
    "bottle.cheetah_view": _JINJA,
    "bottle.FileCheckerThread": "use micropie run --reload",
    "bottle.WSGIFileWrapper": "return the file object itself, or static_file(...)",
    "gevent": _ASYNC,
    "eventlet": _ASYNC,
    "geventwebsocket": _SOCKET,
    "bottle_websocket": _SOCKET,
}


def tell(module: str, name: str) -> NoReturn:
    """Raise the error for a name that a module of this package lacks.

    If there is advice, raise an ``ImportError``, because for ``from ... import`` Python would
    replace the message of an ``AttributeError``.
    """
    original = module.removeprefix(f"{__package__}.")
    advice = ADVICE.get(f"{original}.{name}")
    if advice:
        raise ImportError(f"micropie.compat.{original} has no {name}: {advice}")
    raise AttributeError(f"module {original!r} has no attribute {name!r}")


def listed_advice(name: str) -> str | None:
    """Return the entry for a dotted name, or for the module or class that contains the name. Return
    None if there is none.
    """
    return next(
        (advice for key, advice in ADVICE.items() if f"{name}.".startswith(f"{key}.")), None
    )


def advice_for(framework: str, name: str) -> str | None:
    """Return advice on what to use instead of a dotted name, or None if the compatibility module
    has the name or the framework never had it.
    """
    listed = listed_advice(name)
    if listed is not None:
        return listed
    first, *parts = name.split(".")
    found: Any = import_module(f"{__package__}.{framework}") if first == framework else None
    for part in parts:
        if not isinstance(found, ModuleType):
            break
        try:
            found = getattr(found, part)
        except AttributeError:
            try:
                found = import_module(f"{found.__name__}.{part}")
            except ModuleNotFoundError:
                return f"{UNKNOWN} {part}: leave it out, or rewrite the code that uses it"
        except ModuleNotFoundError:  # a plugin that is not installed
            return None
        except ImportError as error:
            return str(error)
    return None
