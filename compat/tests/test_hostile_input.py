"""Whatever a client sends to a migrated application is parsed in linear time, and no cache keeps a
long text.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from compat.tests.fuzz.client_texts import ENTRIES
from micropie_compat import bottle, cherrypy
from micropie_compat.carrier import status_of
from micropie_compat.cherrypy.lib.httputil import valid_status
from tests.http.test_hostile_input import (
    ask_with_long_headers,
    check_growth,
    check_that_no_text_is_kept,
    forget_what_httpx_has_asked_for,
    kept_after,
)
from tests.support.clients import MakeClient


def test_R28_no_cache_stores_a_long_text_from_a_client(world: str, connect: MakeClient) -> None:
    class Moved:
        @cherrypy.expose
        def index(self) -> str:
            return repr(cherrypy.request.headers)

    old = bottle.Bottle()
    old.route("/")(lambda: repr([*bottle.request.headers]))
    clients = [
        connect(each, world, validate=False) for each in (old, cherrypy.Application(Moved()))
    ]

    def ask(number: int) -> None:
        for client in clients:
            ask_with_long_headers(client, f"{world}{number}{'a' * 50_000}")
        forget_what_httpx_has_asked_for()

    # A cache keeps all ten of a kind, half a million bytes. A thread's last request may be held yet.
    assert kept_after(ask, 480_000) < 480_000


@pytest.mark.parametrize("name", ENTRIES)
def test_R28_processing_time_grows_linearly_with_the_text(name: str) -> None:
    check_growth(ENTRIES[name])


@pytest.mark.parametrize(
    "keep",
    [
        lambda text: status_of(f"400 {text}"),
        lambda text: valid_status(f"400 {text}"),
        lambda text: bottle.HTTPResponse("x", headers={f"x-{text}": "x"}),
    ],
    ids=["status", "status of CherryPy's", "header"],
)
def test_R28_no_cache_stores_a_long_text_that_an_author_passes_on(
    keep: Callable[[str], object],
) -> None:
    check_that_no_text_is_kept(keep)
