"""The README's application on each supported server: a page, a form, a stream, a WebSocket under
ASGI, and the shutdown.

``make test`` runs these alone of all tests that start a process: they show that its other tests are
about something that serves.
"""

from __future__ import annotations

import tempfile

import pytest
from websockets.sync.client import connect

from tests.servers.harness import ANSWER_WITHIN, KINDS, start
from tests.smoke.readme_app import ENDED

pytestmark = [pytest.mark.processes, pytest.mark.smoke]

FORM = {"Content-Type": "application/x-www-form-urlencoded"}


@pytest.mark.parametrize("name", KINDS)
def test_the_readme_application_works_on_a_server(name: str) -> None:
    kind = KINDS[name]
    with tempfile.TemporaryFile() as log:
        server = start(kind, "tests.smoke.readme_app:app", log, workers=1)
        try:
            page = server.request("GET", "/greet/Alice?age=3")
            assert (page.status, page.body) == (200, b"Hello, Alice, 3!")
            refused = server.request("GET", "/greet/Alice?age=three")
            assert (refused.status, refused.body) == (400, b"age: Please enter a whole number.")
            form = server.request("POST", "/order", FORM, b"pie=cr%C3%A8me&count=2")
            assert (form.status, form.body.decode()) == (200, "2 crème")
            stream = server.request("GET", "/slices/3")
            assert (stream.status, stream.body) == (200, b"slice 0\nslice 1\nslice 2\n")
            if kind.protocol == "asgi":
                address = f"ws://127.0.0.1:{server.port}/echo"
                with connect(address, open_timeout=ANSWER_WITHIN, proxy=None) as ws:
                    ws.send("pie")
                    assert ws.recv(timeout=ANSWER_WITHIN) == "echo 'pie'"
        finally:
            server.end()
        assert (ENDED in server.output()) is kind.has_end, server.output()
        assert not server.leftovers(), server.output()
