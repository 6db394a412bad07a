"""Names that the compatibility modules lack, with advice on what to use instead. Importing such a
name raises an error with the advice, and ``micropie check`` reports it.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from types import ModuleType
from typing import Any, NoReturn

from micropie import SetupError
from micropie_compat.results import words

_RUN = 'choose a server with run(server="...") or micropie run --server'
_GEVENT = "use async def handlers, or gunicorn -k gthread"

# The first words of the message for a name that has no entry in ``ADVICE``.
UNKNOWN = "the compatibility module has no"

# Values of ``bottle.run(server=...)`` that only the original supports, each with advice.
SERVERS: Mapping[str, str] = {
    **dict.fromkeys(
        words(
            "aiohttp bjoern cgi diesel fapws3 flup gae geventSocketIO meinheld "
            "paste rocket tornado twisted uvloop"
        ),
        _RUN,
    ),
    "cherrypy": 'write server="cheroot"',
    "eventlet": _GEVENT,
    "gevent": _GEVENT,
}

# Settings of ``cherrypy.server`` that aren't supported, each with advice.
SERVER_SETTINGS: Mapping[str, str] = {
    "server.ssl_certificate_chain": "append the chain to the file of server.ssl_certificate",
    "server.ssl_ciphers": "use a server that supports them: uvicorn --ssl-ciphers",
    "server.ssl_context": "use a server that supports it: uvicorn, hypercorn",
    "server.socket_file": "use uvicorn --uds, or gunicorn --bind unix:FILE",
}

# Advice that applies to several names.
_SHARED: Mapping[str, str] = {
    "use micropie.middleware.AccessLog, or the server's metrics": (
        "cherrypy.lib.cpstats cherrypy.tools.cpstats"
    ),
    "store sessions in Redis: write tools.sessions.backend = RedisSessionBackend(url)": (
        "cherrypy.lib.sessions.MemcachedSession cherrypy.lib.sessions.PostgresqlSession"
    ),
    'start a server, such as gunicorn, uvicorn or "micropie run app:app"': (
        "cherrypy.wsgiserver cherrypy._cpwsgi_server cherrypy._cpnative_server "
        "cherrypy._cpmodpy cherrypy.server.httpserver cherrypy.process.servers.FlupCGIServer "
        "cherrypy.process.servers.FlupFCGIServer cherrypy.process.servers.FlupSCGIServer"
    ),
    (
        "for WSGI middleware, write app = micropie.dual(YourMiddleware(cherrypy.tree)); append "
        "micropie middleware to cherrypy.tree.native.middlewares"
    ): (
        "cherrypy.Application.wsgiapp cherrypy._cpwsgi.CPWSGIApp "
        "cherrypy._cpwsgi.InternalRedirector cherrypy._cpwsgi.ExceptionTrapper "
        "cherrypy._cpwsgi.AppResponse cherrypy.wsgi.CPWSGIApp "
        "cherrypy.wsgi.InternalRedirector cherrypy.wsgi.ExceptionTrapper "
        "cherrypy.wsgi.AppResponse"
    ),
    "use the package portend": (
        "cherrypy._cpserver.check_port cherrypy._cpserver.client_host "
        "cherrypy._cpserver.wait_for_free_port cherrypy._cpserver.wait_for_occupied_port "
        "cherrypy.process.servers.check_port cherrypy.process.servers.client_host "
        "cherrypy.process.servers.wait_for_free_port "
        "cherrypy.process.servers.wait_for_occupied_port"
    ),
    "leave it out: CherryPy has had no response timeout since version 12": (
        "cherrypy.engine.timeout_monitor cherrypy.response.check_timeout "
        "cherrypy.response.timed_out"
    ),
    "test with cherrypy.test.helper.CPWebCase": (
        "cherrypy.Application.get_serving cherrypy.Application.release_serving "
        "cherrypy.test.webtest"
    ),
    "leave it out": ("cherrypy.tools.nsgmls cherrypy.tools.tidy"),
    "use tools.auth_basic with realm and checkpassword, or tools.auth_digest": (
        "cherrypy.lib.auth cherrypy.lib.httpauth cherrypy.tools.basic_auth "
        "cherrypy.tools.digest_auth"
    ),
    "write a WebSocket handler: async def ws_name(self, ws)": (
        "ws4py.server ws4py.websocket geventwebsocket bottle_websocket"
    ),
    "remove this or write async def handlers: def handlers already run in threads": (
        "gevent eventlet"
    ),
    _RUN: (
        "bottle.AiohttpServer bottle.AiohttpUVLoopServer bottle.AppEngineServer "
        "bottle.AsyncioServerAdapter bottle.BjoernServer bottle.CGIServer "
        "bottle.CherryPyServer bottle.DieselServer bottle.FapwsServer bottle.FlupFCGIServer "
        "bottle.MeinheldServer bottle.PasteServer bottle.TornadoServer bottle.TwistedServer"
    ),
    _GEVENT: ("bottle.GeventServer bottle.EventletServer"),
    "use jinja2_template and jinja2_view": (
        "bottle.CheetahTemplate bottle.cheetah_template bottle.cheetah_view"
    ),
}

# The advice by dotted name. The entry for a module or a class also applies to all names in it.
ADVICE: Mapping[str, str] = {
    **{name: advice for advice, names in _SHARED.items() for name in names.split()},
    "cherrypy.lib.profiler": 'profile the whole program with py-spy or "python -m cProfile"',
    "cherrypy.lib.covercp": 'measure coverage with "coverage run -m pytest"',
    "cherrypy.lib.gctools": "use tracemalloc",
    "cherrypy.process.plugins.PerpetualTimer": "write BackgroundTask(interval, function)",
    "cherrypy.process.win32": "run the server with a service manager",
    "cherrypy.daemon": "run the program itself: python shop.py, or micropie run shop:app",
    "cherrypy.scaffold": "create a first application with micropie new",
    "cherrypy._cpchecker": "run micropie check --from cherrypy",
    "cherrypy._cpdispatch.test_callable_spec": "leave it out: invalid arguments get a 404 or 400",
    "cherrypy._cpdispatch.validate_translator": (
        "write your own dispatcher, a function that takes the path"
    ),
    "cherrypy._cpdispatch.getargspec": "use inspect.signature",
    # Names that CherryPy itself has removed, each with the version that removed it.
    "cherrypy.restsrv": "write cherrypy.process",  # 3.1
    "cherrypy.lib.cptools.serve_file": "write cherrypy.lib.static.serve_file",  # 3.1
    "cherrypy.engine.on_start_engine_list": (  # 3.1
        'write cherrypy.engine.subscribe("start", function)'
    ),
    "cherrypy.engine.on_stop_engine_list": (  # 3.1
        'write cherrypy.engine.subscribe("stop", function)'
    ),
    "cherrypy.server.quickstart": "write cherrypy.engine.start()",  # 3.1
    "cherrypy.lib.http": "write cherrypy.lib.httputil",  # 8
    "cherrypy.lib.attributes": "write cherrypy.lib.reprconf.attributes",  # 8
    "cherrypy.lib.modules": "write cherrypy.lib.reprconf.modules",  # 8
    "cherrypy.lib.unrepr": "write cherrypy.lib.reprconf.unrepr",  # 8
    "cherrypy.request.body_params": "write cherrypy.request.body.params",  # 16
    "cherrypy.request.body.type": "write cherrypy.request.body.content_type",  # 16
    "bottle.FileCheckerThread": "use micropie run --reload",
}


def tell(module: str, name: str) -> NoReturn:
    """Raise the error for a name that a module of this package lacks.

    If there is advice, raise an ``ImportError``, because for ``from ... import`` Python would
    replace the message of an ``AttributeError``.
    """
    original = module.removeprefix(f"{__package__}.")
    advice = ADVICE.get(f"{original}.{name}")
    if advice:
        raise ImportError(f"micropie_compat.{original} has no {name}: {advice}")
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
            if part in found.__annotations__:  # the name is set later
                return None
            try:
                found = import_module(f"{found.__name__}.{part}")
            except ModuleNotFoundError:
                return f"{UNKNOWN} {part}: leave it out, or rewrite the code that uses it"
        except ModuleNotFoundError:  # a plugin that is not installed
            return None
        except (ImportError, SetupError) as error:
            return str(error)
    return None
