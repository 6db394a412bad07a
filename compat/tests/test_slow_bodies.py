"""Clients of migrated applications that send their bodies slowly."""

from __future__ import annotations

from typing import Any

import pytest

from micropie._core.execution import threads as workers
from micropie_compat import bottle, cherrypy
from tests.asgi.test_slow_bodies import check_a_short_body, check_bodies_that_do_not_end


def moved_bottle() -> Any:
    app = bottle.Bottle()
    app.get("/quick", callback=lambda: "quick")
    app.post("/slow", callback=lambda: bottle.request.body.read())
    return app


class Tree:
    @cherrypy.expose
    def quick(self) -> str:
        return "quick"

    @cherrypy.expose
    def slow(self) -> Any:
        return cherrypy.request.body.read()


def moved_cherrypy() -> Any:
    return cherrypy.Application(Tree(), "")


# The cases run on both loops because of the name ``loop``: of ``backend``, only the first one would
# run on trio (tests/support/selection.py).
on_both_loops = pytest.mark.parametrize("loop", ["asyncio", "trio"])


@on_both_loops
@pytest.mark.parametrize("make", [moved_bottle, moved_cherrypy])
def test_R20_slow_uploads_do_not_occupy_threads(loop: str, make: Any) -> None:
    check_bodies_that_do_not_end(loop, make, "/slow", "/quick", 40)


@on_both_loops
@pytest.mark.parametrize("make", [moved_bottle, moved_cherrypy])
def test_R20_a_short_body_is_received_before_a_thread_is_taken(
    loop: str, make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor is one of the threads needed that may wait for their clients."""
    monkeypatch.setattr(workers, "MOST_READERS", 0)
    check_a_short_body(loop, make, "/slow")
