"""WebSockets on both event loops: `open_client(app)` is the test client, with what ASGI says
checked.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from micropie.testing import TestClient
from tests.support.clients import MakeClient

OpenClient = Callable[..., TestClient]


@pytest.fixture
def open_client(connect: MakeClient, backend: str) -> OpenClient:
    """`open_client(app, **options)`: a client on each event loop in turn, whose server can answer a
    refusal.
    """

    def open_client(app: Any, *, denial_response: bool = True, **options: Any) -> TestClient:
        return connect(app, backend, denial_response=denial_response, **options)

    return open_client
