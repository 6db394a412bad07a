"""Clients of an application, under the protocols that tests run in (tests/support/plugin.py)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from wsgiref.validate import validator

from micropie._core.http.settings import Settings
from micropie.testing import TestClient
from micropie.testing.asgi import ASGITransport
from micropie.testing.call import ON_FAILURE
from tests.support.asgi_validator import validated
from tests.support.loops import Loops
from tests.support.waiting import PATIENCE

MakeClient = Callable[..., TestClient]

LOOP_PATIENCE = Settings.loop_patience
LOOPS = Loops()


def unreported(app: Any, world: str) -> Any:
    """Return ``app``, which reports no failures to the test client: its responses to them, which
    servers' clients get, are what tests of the framework look at.

    An exception that leaves the application is raised all the same.
    """

    def call(server: dict[str, Any], *others: Any) -> Any:
        server.pop(ON_FAILURE, None)
        return app(server, *others)

    if world == "wsgi":
        call.wsgi_shutdown = getattr(app, "wsgi_shutdown", None)  # type: ignore[attr-defined]
    return with_hooks(call, app)


def validated_wsgi(app: Any) -> Any:
    """Return ``app`` inside ``wsgiref.validate``, with the attribute that the test client needs for
    the shutdown.
    """
    checked: Any = validator(app)
    checked.wsgi_shutdown = getattr(app, "wsgi_shutdown", None)
    return with_hooks(checked, app)


def with_hooks(wrapper: Any, app: Any) -> Any:
    """Return ``wrapper`` with the tree of ``app``, of which the test client asks more than
    requests.
    """
    if hasattr(app, "_micropie"):
        wrapper._micropie = app._micropie
    return wrapper


@contextmanager
def connecting() -> Iterator[MakeClient]:
    """Yield ``connect(app, world, validate=True, **options)``, which makes a client in the named
    world.
    """
    with ExitStack() as clients:

        def connect(
            app: Any, world: str, *, validate: bool = True, reports: bool = False, **options: Any
        ) -> TestClient:
            options.setdefault("app_timeout", PATIENCE)
            app = app if reports else unreported(app, world)
            if world == "wsgi":
                client = TestClient(
                    validated_wsgi(app) if validate else app, protocol="wsgi", **options
                )
            else:
                client = TestClient(
                    with_hooks(validated(app), app) if validate else app, backend=world, **options
                )
                assert isinstance(client.app_transport, ASGITransport)
                client.app_transport.use_loop(clients.enter_context(LOOPS.borrowed(world)))
            return clients.enter_context(client)

        yield connect
