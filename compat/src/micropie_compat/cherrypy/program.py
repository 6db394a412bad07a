"""``cherrypy.engine``, ``cherrypy.server`` and ``quickstart``, for a program that serves its
applications itself.

If an external server runs the application, the engine starts and stops with the application, once
in each process, and ``cherrypy.server`` isn't started.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from micropie_compat.cherrypy._cpserver import Server
from micropie_compat.cherrypy.config import Source
from micropie_compat.cherrypy.config import config as global_config
from micropie_compat.cherrypy.config import files as config_files
from micropie_compat.cherrypy.log import log
from micropie_compat.cherrypy.messages import ServedRequest
from micropie_compat.cherrypy.process.plugins import Autoreloader, SignalHandler, ThreadManager
from micropie_compat.cherrypy.process.wspbus import bus
from micropie_compat.cherrypy.tree import Application, tree
from micropie_compat.cherrypy.urls import bases
from micropie_compat.programs import end_if_read

engine: Any = bus
engine.autoreload = Autoreloader(engine)
engine.autoreload.files = config_files
engine.autoreload.subscribe()
engine.thread_manager = ThreadManager(engine)
engine.thread_manager.subscribe()
engine.signals = engine.signal_handler = SignalHandler(engine)
engine.listeners.setdefault("before_request", set())
engine.listeners.setdefault("after_request", set())

Server.application = tree
server: Server = Server(engine)
server.subscribe()
servers: dict[str, Server] = {}


def _limit_of(request: Any) -> int:
    """See ``ServedRequest.micropie_limit_of``. An external server has the limit of ``server``, or
    of the program's own ``Server`` if only that is subscribed.
    """
    listeners = [getattr(start, "__self__", None) for start in [*engine.listeners["start"]]]
    subscribed = [one for one in listeners if isinstance(one, Server)]
    at_port = [one for one in subscribed if one.bound_addr[1] == request.local.port]
    candidates = at_port or subscribed
    received_by = server if server in candidates else [*candidates, server][0]
    return received_by.max_request_body_size or 0


ServedRequest.micropie_limit_of = staticmethod(_limit_of)
bases.append(server.base)

# Setting ``checker.on`` in the configuration has no effect. ``micropie check --from cherrypy``
# replaces CherryPy's checker.
checker = SimpleNamespace(on=False)


engine.subscribe("log", lambda msg, level: log(msg, "ENGINE", severity=level))


def _end_if_read() -> None:
    if server.start in engine.listeners["start"]:
        end_if_read(tree, *server.bind_addr)


engine.before_start = _end_if_read


def quickstart(root: object = None, script_name: str = "", config: Source | None = None) -> None:
    """Mount an object with handlers, and serve it until the program is stopped."""
    if config:
        global_config.update(config)
    tree.mount(root, script_name, config)
    engine.signals.subscribe()
    engine.start()
    engine.block()


# -- configuration: server.*, engine.*, tree.*, checker.* ------------------------------------------


def _configure_server(name: str, value: object) -> None:
    """Set an attribute of ``server``, or of an additional server, as in
    ``server.second.socket_port``.
    """
    which, dot, attribute = name.partition(".")
    if not dot:
        setattr(server, name, value)
        return
    if which not in servers:
        servers[which] = Server(engine)
        servers[which].subscribe()
    _configure_plugin(servers[which], attribute, value)


def _configure_plugin(plugin: Any, attribute: str, value: object) -> None:
    """Set an attribute of a plugin. ``on`` subscribes the plugin to the engine or unsubscribes
    it.
    """
    if attribute != "on":
        setattr(plugin, attribute, value)
    elif value:
        plugin.subscribe()
    else:
        plugin.unsubscribe()


# Plugins of older CherryPy versions. Configuration may still switch them off.
_OF_OLD = {"timeout_monitor", "deadlock_poll_freq"}


def _configure_engine(name: str, value: object) -> None:
    """Set an attribute of the engine or of one of its plugins. ``on`` switches a plugin on or off,
    as in ``engine.autoreload.on``.
    """
    name = "autoreload.on" if name == "autoreload_on" else name
    which, dot, attribute = name.partition(".")
    if which in _OF_OLD:
        return
    if which in ("SIGHUP", "SIGTERM"):
        if value is None:
            engine.signals.handlers.pop(which, None)
        else:
            engine.subscribe(which, value)
    elif not dot:
        setattr(engine, name, value)
    else:
        _configure_plugin(getattr(engine, which), attribute, value)


def _configure_tree(name: str, value: Any) -> None:
    """Mount applications: ``tree.NAME = application``, or a dict of applications by path."""
    for script_name, application in (
        value.items() if isinstance(value, dict) else [(value.script_name, value)]
    ):
        if isinstance(application, Application):
            tree.mount(application, script_name)
        else:
            tree.graft(application, script_name)


global_config.namespaces.update(
    server=_configure_server,
    engine=_configure_engine,
    tree=_configure_tree,
    checker=lambda name, value: setattr(checker, name, value),
    log=lambda name, value: setattr(log, name, value),
)
