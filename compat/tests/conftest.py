"""Tests of what a moved application relies on run with the original, too: it has to pass them."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from typing import Any

from tests.support.measuring import Measuring  # noqa: F401 - comes before what is measured

# isort: split
import bottle as original_bottle
import cherrypy as original
import pytest

from micropie.testing import TestClient
from micropie_compat import bottle as our_bottle
from micropie_compat import cherrypy as ours
from tests.support.clients import MakeClient

pytest_plugins = ["tests.support.plugin"]

Serve = Callable[..., TestClient]

_QUIET = {"log.screen": False, "request.show_tracebacks": False}
original.config.update(_QUIET)
ours.config.update(_QUIET)

# The thread of each cache of the original never ends, and looks around so often.
original.lib.caching.MemoryCache.expire_freq = 3600


@pytest.fixture(params=[original_bottle, our_bottle], ids=["original", "ours"])
def bottle(request: pytest.FixtureRequest) -> Any:
    """The module: the original, then ours."""
    return request.param


@pytest.fixture
def clients(bottle: Any, connect: MakeClient) -> Any:
    """Return ``clients(app)``: a client of the original by WSGI, or of ours in each world."""
    worlds = ("wsgi", "asyncio", "trio") if bottle is our_bottle else ("wsgi",)

    def clients(app: Any) -> list[TestClient]:
        return [connect(app, world, validate=bottle is our_bottle) for world in worlds]

    return clients


@pytest.fixture(params=["original", "wsgi", "asyncio", "trio"])
def side(request: pytest.FixtureRequest) -> str:
    """The original by WSGI, then ours in each world."""
    name: str = request.param
    return name


@pytest.fixture
def cherrypy(side: str) -> Any:
    return original if side == "original" else ours


@pytest.fixture(params=[original, ours], ids=["original", "ours"])
def module(request: pytest.FixtureRequest) -> Any:
    """The original, then ours, for what needs no request."""
    return request.param


@pytest.fixture
def serve(side: str, connect: MakeClient) -> Serve:
    """Return ``serve(app)``, which makes a client of an application or a tree."""

    def serve(app: Any, **options: Any) -> TestClient:
        if side == "original":
            return connect(app, "wsgi", validate=False, **options)
        return connect(app, side, **options)

    return serve


@pytest.fixture
def serve_ours(world: str, connect: MakeClient) -> Serve:
    return lambda app, **options: connect(app, world, **options)


def page(cherrypy: Any, function: Callable[..., Any], **config: Any) -> Any:
    """Return a root whose pages all call ``function``, with configuration: ``a__b`` stands for
    ``a.b``.
    """

    class Root:
        _cp_config = {name.replace("__", "."): value for name, value in config.items()}

        @cherrypy.expose
        def index(self, **values: Any) -> Any:
            return function(**values)

        @cherrypy.expose
        def default(self, *segments: str, **values: Any) -> Any:
            return function(*segments, **values)

    return Root()


@pytest.fixture
def serve_root(serve: Serve, cherrypy: Any) -> Serve:
    """Return ``serve_root(root, config)``, which makes a client of an application."""
    return lambda root, config=None, **options: serve(
        cherrypy.Application(root, "", config), **options
    )


@pytest.fixture
def serve_our_root(serve_ours: Serve) -> Serve:
    return lambda root, config=None, **options: serve_ours(
        ours.Application(root, "", config), **options
    )


@pytest.fixture
def serve_page(serve_root: Serve, cherrypy: Any) -> Serve:
    """Return ``serve_page(function, **config)``, which makes a client of ``page(...)``."""
    return lambda function, **config: serve_root(page(cherrypy, function, **config))


@pytest.fixture
def serve_our_page(serve_our_root: Serve) -> Serve:
    return lambda function, **config: serve_our_root(page(ours, function, **config))


@pytest.fixture
def own_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a bus that blocks wait for the threads of this test alone: idle ones of other tests never
    end.
    """
    list_all = threading.enumerate
    others = {*list_all()}
    monkeypatch.setattr(
        threading, "enumerate", lambda: [thread for thread in list_all() if thread not in others]
    )


@pytest.fixture(autouse=True)
def no_logger_stays() -> Iterator[None]:
    """Forget the two loggers that CherryPy makes for each application: pytest looks at all loggers
    in each later test.
    """
    known = logging.Logger.manager.loggerDict
    before = {*known}
    yield
    for name in known.keys() - before:
        if name.startswith(("cherrypy.access.", "cherrypy.error.")):
            del known[name]
