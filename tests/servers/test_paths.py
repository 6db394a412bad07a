"""What a hook and the handler see of a path is one value, under every server, also below a prefix."""

from __future__ import annotations

import json
import tempfile

import pytest

from tests.servers.harness import KINDS, Server, start

# How each server is told that the application lives at /app; gunicorn's WSGI workers read it from the environment.
PREFIXES = {
    "uvicorn": "--root-path /app",
    "hypercorn-asyncio": "--root-path /app",
    "granian-asgi": "--url-path-prefix /app",
    "granian-wsgi": "--url-path-prefix /app",
    "daphne": "--root-path /app",
    "waitress": "--url-prefix=/app",
    "gunicorn-asgi": "--root-path /app",
    "gunicorn-sync": "",
}

TARGETS = [
    *("/admin/users", "/admin/users/", "/admin%2Fusers", "/%61dmin/users/", "/x/%2e%2e/admin", "/a//admin", "/a%252Fb"),
    *("/app/admin/users", "/app/admin/", "/%61pp/admin/users", "/app%2Fadmin/users", "/app%2fx/admin/users"),
    *("/app%2f/admin", "/appadmin/users", "/app/app%2Fx/admin", "/app//admin", "/app/%2e/admin", "/app/%C3%A9/%ff"),
]


@pytest.mark.parametrize("name", PREFIXES)
@pytest.mark.parametrize("prefix", ["", "/app"])
def test_R12_a_hook_and_the_handler_see_one_path(name: str, prefix: str) -> None:
    kind = KINDS[name]
    if prefix:
        kind = kind._replace(command=f"{kind.command} {PREFIXES[name]}")
    with tempfile.TemporaryFile() as log:
        environ = {"SCRIPT_NAME": prefix} if name == "gunicorn-sync" else {}
        server: Server = start(kind, "tests.servers.paths:app", log, environ=environ)
        try:
            routed = {}
            for target in TARGETS:
                answer = server.request("GET", target)
                if answer.status == 200:
                    path, segments, root_path = json.loads(answer.body)
                    assert path == "/" + "/".join(segments), target
                    routed[target] = path
                    assert root_path == prefix
                else:
                    assert answer.status in (400, 404, 500), target
            # What only looks as if it were below the prefix is never routed as if it were.
            if kind.has_raw_path:
                assert "/admin/users" not in {routed.get("/app%2Fadmin/users"), routed.get("/app%2fx/admin/users")}
            assert routed.get("/admin/users") == "/admin/users" or routed["/app/admin/users"] == "/admin/users"
        finally:
            server.end()


def test_gunicorn_takes_the_prefix_from_a_header_unless_it_is_told_not_to() -> None:
    """docs/servers.md says so."""
    for option, path in (("", "/admin/users"), (" --forwarder-headers=none", "/public/admin/users")):
        kind = KINDS["gunicorn-sync"]
        with tempfile.TemporaryFile() as log:
            server = start(kind._replace(command=kind.command + option), "tests.servers.paths:app", log)
            try:
                answer = server.request("GET", "/public/admin/users", {"SCRIPT_NAME": "/public"})
                assert json.loads(answer.body)[0] == path
            finally:
                server.end()
