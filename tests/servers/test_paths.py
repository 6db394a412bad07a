"""What a hook and the handler see of a path is one value, under every server, also below a
prefix.
"""

from __future__ import annotations

import json
import tempfile

import pytest

from tests.servers.harness import KINDS, Server, ServerOf, start
from tests.servers.paths import HOST

# Servers that translate a target each in their own way; test_parts.py asks them below a prefix.
SERVERS = [
    *("uvicorn", "hypercorn-asyncio", "granian-asgi", "granian-wsgi"),
    *("daphne", "waitress", "gunicorn-asgi", "gunicorn-sync"),
]

TARGETS = [
    *(
        "/admin/users",
        "/admin/users/",
        "/admin%2Fusers",
        "/%61dmin/users/",
        "/x/%2e%2e/admin",
        "/a//admin",
        "/a%252Fb",
    ),
    *(
        "/blog/admin/users",
        "/blog/admin/",
        "/%62log/admin/users",
        "/blog%2Fadmin/users",
        "/blog%2fx/admin/users",
    ),
    *(
        "/blog%2f/admin",
        "/blogadmin/users",
        "/blog/blog%2Fx/admin",
        "/blog//admin",
        "/blog/%2e/admin",
        "/blog/%C3%A9/%ff",
    ),
]


@pytest.mark.parametrize("name", SERVERS)
def test_R12_a_hook_and_the_handler_see_one_path(name: str, site_on: ServerOf) -> None:
    hook_and_handler_see_one_path(site_on(name), "")


def hook_and_handler_see_one_path(server: Server, prefix: str) -> None:
    routed = {}
    for target in TARGETS:
        answer = server.request("GET", target, {"Host": HOST})
        if answer.status == 200:
            path, segments, root_path = json.loads(answer.body)
            assert path == "/" + "/".join(segments), target
            routed[target] = path
            assert root_path == prefix
        else:
            assert answer.status in (400, 404, 500), target
    # What only looks as if it were below the prefix is never routed as if it were.
    if server.kind.has_raw_path:
        assert "/admin/users" not in {
            routed.get("/blog%2Fadmin/users"),
            routed.get("/blog%2fx/admin/users"),
        }
    assert (
        routed.get("/admin/users") == "/admin/users"
        or routed["/blog/admin/users"] == "/admin/users"
    )


def test_gunicorn_takes_the_prefix_from_a_header_unless_configured_not_to() -> None:
    """docs/servers.md says so."""
    for option, path in (("", "/pies"), (" --forwarder-headers=none", "/blog/pies")):
        kind = KINDS["gunicorn-sync"]
        with tempfile.TemporaryFile() as log:
            server = start(
                kind._replace(command=kind.command + option), "tests.servers.paths:app", log
            )
            try:
                answer = server.request("GET", "/blog/pies", {"Host": HOST, "SCRIPT_NAME": "/blog"})
                assert json.loads(answer.body)[0] == path
            finally:
                server.end()
