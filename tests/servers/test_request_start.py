"""The header X-Request-Start, as the proxies of docs/deploy write it, is a time of a form that LoadShedding
reads (tests/middleware/test_load_shedding.py).
"""

from __future__ import annotations

import os
import re
import time
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from micropie import App
from tests.servers.harness import serving
from tests.servers.test_deployment import program, running, text_of
from tests.support.ports import free_port
from tests.support.waiting import PATIENCE, until

NGINX = """
daemon off;
pid {folder}/pid;
error_log {folder}/log;
events {{ }}
{user}
http {{
    access_log off;
    client_body_temp_path {folder};
    proxy_temp_path {folder};
    fastcgi_temp_path {folder};
    uwsgi_temp_path {folder};
    scgi_temp_path {folder};
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://127.0.0.1:{to};
            {line}
        }}
    }}
}}
"""
HAPROXY = """
defaults
    mode http
    timeout connect 9s
    timeout client 9s
    timeout server 9s
frontend web
    bind 127.0.0.1:{port}
    {line}
    default_backend machines
backend machines
    server a 127.0.0.1:{to}
"""
# by name: the page, the configuration, the arguments, and what the header looks like
PROXIES = {
    "nginx": ("nginx.md", NGINX, ["-e", "{folder}/log", "-c", "{folder}/conf"], r"t=\d{10}\.\d{3}"),
    "haproxy": ("several-machines.md", HAPROXY, ["-db", "-f", "{folder}/conf"], r"t=\d{16}"),
}


class Root(App):
    def index(self) -> str:
        return self.request.headers["x-request-start"]


app = Root()


@pytest.mark.parametrize("proxy", PROXIES)
def test_it_says_when_a_request_came(proxy: str, tmp_path: Path) -> None:
    page, configuration, arguments, pattern = PROXIES[proxy]
    (line,) = re.findall(r"^ *(.*X-Request-Start \S*)", text_of(page), re.MULTILINE)
    with ExitStack() as stack:
        server_of = stack.enter_context(serving("tests.servers.test_request_start:app"))
        port, to = free_port(), server_of("uvicorn").port
        user = "user root;" if os.geteuid() == 0 else ""
        (tmp_path / "conf").write_text(
            configuration.format(folder=tmp_path, port=port, to=to, line=line, user=user)
        )
        command = [program(proxy), *(one.format(folder=tmp_path) for one in arguments)]
        log = stack.enter_context((tmp_path / "out").open("wb"))
        stack.enter_context(running(command, tmp_path, {}, log))
        forged = {"X-Request-Start": "t=1000000000"}
        url = f"http://127.0.0.1:{port}/"
        until(lambda: answers(url))
        sent_at = time.time()
        start = httpx.get(url, headers=forged).text
    assert re.fullmatch(pattern, start)
    came = float(start.removeprefix("t="))
    # a proxy reads its clock once for several events
    assert -1 < (came / 1e6 if came > 1e12 else came) - sent_at < PATIENCE


def answers(url: str) -> bool:
    try:
        return httpx.get(url).status_code == 200
    except httpx.TransportError:
        return False
