"""nginx as a cache of everybody's answers: a stranger never gets the page or the file of a client
that is logged in.
"""

from __future__ import annotations

import base64
import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx2 as httpx
import pytest

from tests.servers.harness import serving
from tests.servers.test_deployment import AROUND, program, running
from tests.support.ports import free_port
from tests.support.waiting import PATIENCE, until

# It keeps what has no Cache-Control as well, as many sites tell it to.
SITE = """
    proxy_cache_path {folder}/cache keys_zone=all:1m;
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://127.0.0.1:{upstream};
            proxy_cache all;
            proxy_cache_key $request_uri;
            proxy_cache_valid 200 5m;
            add_header X-Cache $upstream_cache_status;
        }}
    }}
"""
# Of /account: names by which a cache or a proxy takes it for something that it may keep.
SPELLINGS = [
    "account",
    "account/",
    "account/x.css",
    "account/x.js?v=1",
    "account;x.css",
    "account%2fx.css",
    "account/%2e%2e/x.css",
    "account/..%2fx.css",
    "account?x.css",
    "account/x%00.css",
]
BASIC = {"Authorization": "Basic " + base64.b64encode(b"alice:secret").decode()}


@pytest.fixture(scope="module", params=["uvicorn", "gunicorn-gthread"])
def site(request: pytest.FixtureRequest) -> Iterator[httpx.Client]:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        (folder / "files").mkdir()
        (folder / "files" / "a.css").write_text("file of alice")
        environ = {"SHARED_FILES": str(folder / "files")}
        server_of = stack.enter_context(
            serving("tests.servers.shared_cache_app:app", environ=environ)
        )
        port, upstream = free_port(), server_of(request.param).port
        configuration = SITE.format(folder=folder, port=port, upstream=upstream)
        user = "user root;" if os.geteuid() == 0 else ""
        (folder / "nginx.conf").write_text(
            AROUND.format(folder=folder, site=configuration, user=user)
        )
        command = [program("nginx"), "-c", str(folder / "nginx.conf"), "-p", str(folder)]
        log = stack.enter_context((folder / "log").open("wb"))
        stack.enter_context(running(command, folder, {}, log))
        client = stack.enter_context(
            httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE)
        )
        until(lambda: is_there(client))
        yield client


def is_there(client: httpx.Client) -> bool:
    try:
        return client.get("/").status_code == 404
    except httpx.TransportError:
        return False


def texts(client: httpx.Client, path: str, headers: dict[str, str]) -> tuple[str, str]:
    """Return what the client gets, twice, and a stranger after it."""
    client.cookies.clear()
    for _ in range(2):
        own = client.get(path, headers=headers)
    assert own.headers.get("x-cache") != "HIT"
    return own.text, client.get(path).text


@pytest.mark.parametrize("way", ["own", "basic", "signed"])
def test_R48_a_stranger_never_gets_another_visitor_s_page(site: httpx.Client, way: str) -> None:
    headers = {"own": {"Cookie": "u=alice"}, "basic": BASIC, "signed": {}}[way]
    if way == "signed":
        set_cookie = site.get("/signed/log_in").headers["set-cookie"]
        headers = {"Cookie": set_cookie.partition(";")[0]}
    seen = {spelling: texts(site, f"/{way}/{spelling}", headers) for spelling in SPELLINGS}
    assert seen["account"][0] == seen["account/x.css"][0] == "page of alice"
    assert not [spelling for spelling, (_, stranger) in seen.items() if "alice" in stranger]


@pytest.mark.parametrize("way", ["own", "basic"])
def test_R48_a_stranger_never_gets_another_visitor_s_file(site: httpx.Client, way: str) -> None:
    headers = BASIC if way == "basic" else {"Cookie": "u=alice"}
    own, stranger = texts(site, f"/{way}/files/a.css", headers)
    assert own == "file of alice"
    assert "alice" not in stranger


def test_the_shared_cache_stores_public_responses(site: httpx.Client) -> None:
    """Otherwise the tests above would prove nothing."""
    site.get("/everybody")
    assert site.get("/everybody").headers["x-cache"] == "HIT"
