"""Servers with examples, and clients for them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx2 as httpx

from tests.servers.harness import ANSWER_WITHIN, Server, ServerOf, serving

Browse = Callable[[str], httpx.Client]


@contextmanager
def serving_examples(names: str, directory: Path, **own: str) -> Iterator[ServerOf]:
    """Yield ``server_of(kind)``, which starts a server with the examples.

    ``own``: more variables of its environment. Fails if one has logged a traceback.
    """
    environ = {
        "EXAMPLES": names,
        "BLOG_DATABASE": str(directory / "blog.db"),
        "CONDUIT_DATABASE": str(directory / "conduit.db"),
        "DOORKEEPER_FOLDER": str(directory / "doorkeeper"),
        "PASTE_DIRECTORY": str(directory / "paste"),
        "SHORTENER_DATABASE": str(directory / "shortener.db"),
        **own,
    }
    started: list[Server] = []
    with serving("tests.project.examples.site:app", environ=environ) as server_of:

        def noted(kind: str) -> Server:
            started.append(server_of(kind))
            return started[-1]

        yield noted
        for server in started:
            assert "Traceback" not in server.output(), server.output()


@contextmanager
def browsing(server: Server) -> Iterator[Browse]:
    """Yield ``browse(name)``, which returns a client of an example: it keeps cookies and follows
    redirects.
    """
    with ExitStack() as clients:

        def browse(name: str) -> httpx.Client:
            url = f"http://127.0.0.1:{server.port}/{name}/"
            return clients.enter_context(
                httpx.Client(
                    base_url=url, follow_redirects=True, timeout=ANSWER_WITHIN, trust_env=False
                )
            )

        yield browse
