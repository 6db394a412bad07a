"""A site of several applications on real servers, also below a prefix behind nginx with the
locations of docs/deploy.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx2 as httpx
import pytest
from websockets.exceptions import ConnectionClosedOK
from websockets.sync.client import connect
from websockets.typing import Origin

from tests.servers.harness import (
    ANSWER_WITHIN,
    KINDS,
    Kind,
    Server,
    ServerOf,
    accepts,
    serving,
    start,
)
from tests.servers.test_deployment import AROUND, block, program, replaced, running, text_of
from tests.servers.test_paths import hook_and_handler_see_one_path
from tests.support.ports import free_port
from tests.support.waiting import PATIENCE, until

# of each world; each other one below a prefix
SERVERS = ["uvicorn", "hypercorn-trio", "gunicorn-gthread"]
APP = "tests.servers.parts:app"


@pytest.fixture(scope="module")
def parts_on() -> Iterator[ServerOf]:
    with serving(APP) as server_of:
        yield server_of


def talk(url: str, prefix: str) -> None:
    """Follow the links of the site at ``url``, whose paths begin with ``prefix``."""
    with httpx.Client(base_url=url, timeout=PATIENCE) as client:
        for shop in ("/shop", "/api/v1"):
            page = client.get(f"{prefix}{shop}")
            links = [
                "/home",
                "/shop/show/pie",
                "/office/desk",
                f"{shop}/show/pie",
                f"{shop}/",
                "/home",
            ]
            assert re.findall(r"(?<!<)/[\w/]+", page.text) == [f"{prefix}{link}" for link in links]
            assert page.headers["x-home"] == f"{prefix}/home"
            assert (
                client.post(f"{prefix}{shop}/buy").headers["location"] == f"{prefix}{shop}/show/db"
            )
            told = f"{prefix}{shop}/show/pie {prefix}/home"
            until(lambda shop=shop, told=told: told in client.get(f"{prefix}{shop}/tells").json())  # type: ignore[misc]
            document = client.get(f"{prefix}{shop}/openapi.json").json()
            assert document["servers"] == [{"url": f"{prefix}{shop}"}]
            assert document["paths"]["/show/{pie}"]["get"]["security"] == [{"Token": []}]
            assert f'"{prefix}{shop}/openapi.json"' in client.get(f"{prefix}{shop}/docs").text
            assert client.get(f"{prefix}{shop}/docs/start.js").status_code == 200
        assert client.get(f"{prefix}/office/desk").headers["location"] == f"{prefix}/home"
        answer = client.post(f"{prefix}/sign_in", data={"user": "ann"})
        assert answer.headers["location"] == f"{prefix}/office/desk"
        assert f"Path={prefix or '/'}" in answer.headers["set-cookie"]
        assert client.get(f"{prefix}/office/desk").text == f"ann {prefix}/office/desk db"
        assert client.get(f"{prefix}/old/x").text == f"{prefix}/old /x"


def talk_by_socket(port: int, prefix: str) -> None:
    # as a browser says
    url, origin = f"ws://127.0.0.1:{port}{prefix}/shop/news", f"http://127.0.0.1:{port}"
    with connect(
        url,
        origin=Origin(origin),
        open_timeout=ANSWER_WITHIN,
        close_timeout=ANSWER_WITHIN,
        proxy=None,
    ) as ws:
        assert ws.recv(timeout=ANSWER_WITHIN) == f"db {prefix}/shop/news {prefix}/home"
        # If both sides close at the same moment, hypercorn's trio worker may end.
        with pytest.raises(ConnectionClosedOK):
            ws.recv(timeout=ANSWER_WITHIN)


@pytest.mark.parametrize("name", SERVERS)
def test_parts_link_to_each_other(parts_on: ServerOf, name: str) -> None:
    server = parts_on(name)
    talk(f"http://127.0.0.1:{server.port}", "")
    if server.kind.protocol == "asgi":
        talk_by_socket(server.port, "")


# -- below a prefix, behind nginx ------------------------------------------------------------------

PREFIX = "/blog"
WITHOUT, WHOLE = re.findall(
    r"^```nginx\n( +location /blog/ .*?)^```$", text_of("nginx.md"), re.MULTILINE | re.DOTALL
)
ROOT_PATH = f"--root-path {PREFIX}"

# The options of each server of the page's table, and the paths that it takes.
BELOW = {
    "uvicorn": (ROOT_PATH, [WITHOUT]),
    "gunicorn-gthread": ("", [WHOLE]),
    "hypercorn-asyncio": (ROOT_PATH, [WITHOUT, WHOLE]),
    "hypercorn-trio": (ROOT_PATH, [WITHOUT, WHOLE]),
    "daphne": (ROOT_PATH, [WITHOUT, WHOLE]),
    "gunicorn-asgi": (ROOT_PATH, [WITHOUT, WHOLE]),
    "granian-asgi": (f"--url-path-prefix {PREFIX}", [WITHOUT, WHOLE]),
    "granian-wsgi": (f"--url-path-prefix {PREFIX}", [WHOLE]),
    "waitress": (f"--url-prefix={PREFIX}", [WITHOUT, WHOLE]),
    "micropie run": (ROOT_PATH, [WITHOUT]),
    "micropie run --wsgi": (ROOT_PATH, [WHOLE]),
}
RUN = {
    "micropie run": Kind("asgi", "micropie run --port {port}"),
    "micropie run --wsgi": Kind("wsgi", "micropie run --wsgi --port {port}"),
}


@pytest.mark.parametrize("name", list(BELOW))
def test_R12_parts_of_a_site_link_to_each_other_below_a_prefix(name: str) -> None:
    nginx = program("nginx")
    options, locations = BELOW[name]
    kind = RUN.get(name) or KINDS[name]
    environ = {} if options else {"SCRIPT_NAME": PREFIX}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        log = stack.enter_context((folder / "log").open("w+b"))
        server = start(
            kind._replace(command=f"{kind.command} {options}"), APP, log, environ=environ
        )
        stack.callback(server.end)
        hook_and_handler_see_one_path(server, PREFIX)
        for location in locations:
            port = free_port()
            with running(
                [nginx, "-c", configured(folder, location, server, port), "-p", str(folder)],
                folder,
                {},
                log,
            ):
                until(lambda port=port: accepts(port))  # type: ignore[misc]
                assert (
                    httpx.get(f"http://127.0.0.1:{port}{PREFIX}", timeout=PATIENCE)
                    .headers["location"]
                    .endswith(f"{PREFIX}/")
                )
                talk(f"http://127.0.0.1:{port}", PREFIX)
                if kind.protocol == "asgi":
                    talk_by_socket(port, PREFIX)


def configured(folder: Path, location: str, server: Server, port: int) -> str:
    """Return the file of an nginx that has ``location`` instead of that for the whole site."""
    site = replaced(
        block("nginx.md", "nginx"),
        (
            "    location / {\n        proxy_pass http://blog;\n",
            "\n".join(location.splitlines()[:2]) + "\n",
        ),
        ("unix:/run/blog/server.sock", f"127.0.0.1:{server.port}"),
        ("listen 80;", f"listen 127.0.0.1:{free_port()};"),
        ("listen 443 ssl;", f"listen 127.0.0.1:{port};"),
    )
    site = re.sub(r"^ *ssl_certificate.*\n", "", site, flags=re.MULTILINE)
    file = folder / f"{port}.conf"
    file.write_text(
        AROUND.format(folder=folder, site=site, user="user root;" if os.geteuid() == 0 else "")
    )
    return str(file)
