"""Faults of servers, in words: each page warns of them, and recommends commands without them.

No test sends what sets off such a fault, because it would harm whoever runs another release.
"""

from __future__ import annotations

import re

import pytest

from tests.servers.harness import ROOT
from tests.servers.test_deployment import text_of

# The pages and modules that warn of a fault, and the words of each warning.
WARNINGS = {
    "trailers become headers": (
        ("httptools", "h11"),
        "docs/servers.md docs/deploy/each-server.md micropie/cli/serving/servers.py "
        "compat/src/micropie_compat/bottle/server.py compat/src/micropie_compat/cherrypy/background.py",
    ),
    "a packet ends the worker": (
        ("hypercorn", "trio"),
        "docs/servers.md docs/deploy/each-server.md docs/troubleshooting.md "
        "micropie/cli/serving/run.py",
    ),
    "a connection goes past the proxy": (
        ("hypercorn", "Upgrade", "HTTP/2"),
        "docs/servers.md docs/deploy/nginx.md docs/deploy/each-server.md docs/deploy/kubernetes.md",
    ),
    "a client chooses the prefix": (("gunicorn", "--forwarder-headers=none"), "docs/servers.md"),
    "a long length is misread": (("18 digits", "HAProxy"), "docs/deploy/several-machines.md"),
    "a refused handshake is logged as an error": (("uvicorn", "wsproto"), "docs/websockets.md"),
    "a client waits": (
        ("daphne", "stream that fails"),
        "docs/servers.md docs/deploy/each-server.md",
    ),
}


@pytest.mark.parametrize("fault", WARNINGS)
def test_each_listed_page_has_the_warning(fault: str) -> None:
    words, places = WARNINGS[fault]
    for place in places.split():
        text = " ".join((ROOT / place).read_text().split())
        assert [word for word in words if word not in text] == [], place


def test_the_page_s_first_hypercorn_command_uses_asyncio() -> None:
    """The command that ``test_deployment.py`` runs behind nginx."""
    commands = re.findall(r"^    (hypercorn .*)$", text_of("each-server.md"), re.MULTILINE)
    assert ["trio" in command for command in commands] == [False, True]


# The other pages that name a server with a fault link to the warning.
LINKS = {
    "each-server.md#hypercorn": "command-line deploy/containers deploy/systemd deploy/tls "
    "explanation/async servers start/install troubleshooting",
    "each-server.md#uvicorn": "command-line moving/bottle-steps moving/cherrypy-steps start/install",
    "servers.md#paths-and-headers": "deploy/containers deploy/each-server deploy/kubernetes "
    "deploy/platforms deploy/several-machines",
    "servers.md#behind-a-proxy": "deploy/each-server deploy/kubernetes deploy/nginx",
}


@pytest.mark.parametrize("link", LINKS)
def test_pages_that_recommend_such_a_server_link_to_the_warning(link: str) -> None:
    for page in LINKS[link].split():
        assert link in (ROOT / "docs" / f"{page}.md").read_text(), page
