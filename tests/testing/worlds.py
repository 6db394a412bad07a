"""Worlds in which an application can run: WSGI, and ASGI on each event loop."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from micropie.testing import AppTimeout, TestClient
from tests.support.waiting import PATIENCE


def connect(app: Any, world: str, **options: Any) -> TestClient:
    """Return a client for the half of `app` that runs in `world`."""
    if world == "wsgi":
        return TestClient(app.wsgi, protocol="wsgi", **options)
    return TestClient(app.asgi, backend=world, **options)


def close_late(client: TestClient) -> None:
    """Close a client whose time limit is meant for the application: its own loop may take longer on
    a busy machine.
    """
    with suppress(AppTimeout):  # that no thread stays is looked at after each test
        client.close()


@contextmanager
def no_new_threads() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    new = [thread for thread in threading.enumerate() if thread not in before]
    # which trio keeps for ten seconds
    left = [thread for thread in new if not thread.name.startswith("Trio thread")]
    for thread in left:
        thread.join(PATIENCE)
    assert not [thread.name for thread in left if thread.is_alive()]
