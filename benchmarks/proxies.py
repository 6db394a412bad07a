"""nginx and HAProxy before one server, as small as they can be, with the line of docs/deploy that
says when each request came, and nginx with the one that keeps connections to gunicorn's threads.
"""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from typing import NamedTuple

from benchmarks.processes import ROOT

_NGINX = """
daemon off;
pid {folder}/pid;
error_log {folder}/log;
{user}
worker_rlimit_nofile 20000;
events {{ worker_connections 9000; }}
http {{
    access_log off;
    client_body_temp_path {folder};
    proxy_temp_path {folder};
    fastcgi_temp_path {folder};
    uwsgi_temp_path {folder};
    scgi_temp_path {folder};
    upstream application {{
        server 127.0.0.1:{to};
        {keeps}
    }}
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://application;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Host $http_host;
            proxy_set_header X-Forwarded-For $remote_addr;
            {line}
        }}
    }}
}}
"""
_HAPROXY = """
global
    maxconn 9000
defaults
    mode http
    timeout connect 9s
    timeout client 60s
    timeout server 60s
frontend web
    bind 127.0.0.1:{port}
    {line}
    option forwardfor
    default_backend machines
backend machines
    server a 127.0.0.1:{to}
"""


class Proxy(NamedTuple):
    page: str  # of docs/deploy
    configuration: str
    arguments: str


PROXIES = {
    "nginx": Proxy("nginx.md", _NGINX, "-e {folder}/log -c {folder}/conf"),
    "haproxy": Proxy("several-machines.md", _HAPROXY, "-db -f {folder}/conf"),
}


def command_of(
    name: str, folder: Path, port: int, to: int, *, keeps_connections: bool = False
) -> list[str]:
    """Write the configuration of a proxy at a port before the one at another port, and return its
    command. It keeps all its files in the folder.

    ``keeps_connections``: nginx has the line for gunicorn's threads.
    """
    proxy = PROXIES[name]
    page = (ROOT / "docs" / "deploy" / proxy.page).read_text()
    (line,) = re.findall(r"^ *(.*X-Request-Start \S*)", page, re.MULTILINE)
    keeps = "".join(re.findall(r"`(keepalive .*;)`", page)) if keeps_connections else ""
    user = "user root;" if os.geteuid() == 0 else ""
    text = proxy.configuration.format(
        folder=folder, port=port, to=to, line=line, user=user, keeps=keeps
    )
    (folder / "conf").write_text(text)
    program = shutil.which(name, path=os.environ["PATH"] + ":/usr/sbin") or name
    return [program, *proxy.arguments.format(folder=folder).split()]
