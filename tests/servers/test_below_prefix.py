"""``dual()`` below a server's own prefix: Flask's, CherryPy's and Django's redirects are those that
they make without us, in each way in which a server states its prefix.
"""

from __future__ import annotations

import tempfile
from typing import Any
from wsgiref.util import setup_testing_defaults

import pytest

from tests.servers.below_prefix import SITES, sites
from tests.servers.harness import KINDS, Kind, start

PREFIX = "/shop"
_ROOT_PATH = f"--root-path {PREFIX}"

# The options of each server, and whether it takes whole paths: uvicorn puts its prefix before the
# path that it is asked for.
BELOW: dict[str, tuple[str, bool]] = {
    "uvicorn": (_ROOT_PATH, False),
    "hypercorn-asyncio": (_ROOT_PATH, True),
    "hypercorn-trio": (_ROOT_PATH, True),
    "daphne": (_ROOT_PATH, True),
    "gunicorn-asgi": (_ROOT_PATH, True),
    "gunicorn-gthread": ("", True),  # by SCRIPT_NAME in its environment
    "granian-asgi": (f"--url-path-prefix {PREFIX}", True),
    "granian-wsgi": (f"--url-path-prefix {PREFIX}", True),
    "waitress": (f"--url-prefix={PREFIX}", True),
    "micropie run": (_ROOT_PATH, False),
    "micropie run --wsgi": (_ROOT_PATH, True),
}
# They state their prefix as one of the others does; test_parts.py asks all of them below one.
ALIKE = ["hypercorn-trio", "daphne", "gunicorn-asgi", "micropie run", "micropie run --wsgi"]
OURS = {
    "micropie run": Kind("asgi", "micropie run --port {port}"),
    "micropie run --wsgi": Kind("wsgi", "micropie run --wsgi --port {port}"),
}


def alone(name: str, path: str, host: str) -> tuple[int, str | None, bytes]:
    """Return the answer of a site that a WSGI server has called itself."""
    environ = {"SCRIPT_NAME": PREFIX, "PATH_INFO": path, "QUERY_STRING": name, "HTTP_HOST": host}
    environ["SERVER_NAME"], _, environ["SERVER_PORT"] = host.partition(":")
    setup_testing_defaults(environ)
    head: list[Any] = []
    chunks = sites(environ, lambda status, headers, *_: head.extend((status, headers)))
    body = b"".join(chunks)
    if hasattr(chunks, "close"):  # CherryPy's request is this thread's until then
        chunks.close()
    locations = [value for key, value in head[1] if key.lower() == "location"]
    return int(head[0][:3]), locations[0] if locations else None, body


@pytest.mark.parametrize(
    "server_name",
    [
        pytest.param(name, marks=[pytest.mark.in_test_all] if name in ALIKE else [])
        for name in BELOW
    ],
)
def test_redirects_include_the_server_s_own_prefix(server_name: str) -> None:
    options, takes_whole = BELOW[server_name]
    kind = OURS.get(server_name) or KINDS[server_name]
    environ = {} if options else {"SCRIPT_NAME": PREFIX}
    with tempfile.TemporaryFile() as log:
        server = start(
            kind._replace(command=f"{kind.command} {options}"),
            "tests.servers.below_prefix:app",
            log,
            environ=environ,
        )
        try:
            for name in SITES:
                for path in ("", "/", "/pies", "/pies/") if takes_whole else ("/", "/pies"):
                    target = f"{PREFIX if takes_whole else ''}{path}?{name}"
                    answer = server.request("GET", target)
                    given = answer.status, answer.header("Location"), answer.body
                    # which tells every WSGI application "/" for the bare prefix
                    stated = path or "/" if server_name == "granian-wsgi" else path
                    assert given == alone(name, stated, f"127.0.0.1:{server.port}"), target
        finally:
            server.end()


def test_example_sites_redirect_as_the_comparison_expects() -> None:
    """The test above compares with this."""
    for name in SITES:
        redirected = {path: alone(name, path, "site.example")[1] for path in ("", "/pies")}
        bare = None if name == "django" else f"http://site.example{PREFIX}/?{name}"
        assert redirected[""] == bare
        assert (redirected["/pies"] or "").endswith(f"{PREFIX}/pies/?{name}")
        assert alone(name, "/", "site.example")[::2] == (200, b'<a href="pies">pies</a>')
