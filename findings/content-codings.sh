#!/usr/bin/env bash
# Expected: an HTTP client decodes x-gzip like gzip (a recipient "SHOULD consider" them equivalent,
# RFC 9110, 8.4.1.3), and a body with two codings twice (8.4).
# Seen: httpx, aiohttp and tornado return an x-gzip body compressed. For "gzip, gzip", aiohttp and
# tornado return it compressed twice, but if each coding has a field of its own, aiohttp decodes
# one. No warning follows. requests and curl decode all of them.
# It matters for Apache servers that declare files by `AddEncoding x-gzip .gz`, and for stored gzip
# files that a second layer compresses: the program gets bytes in place of text, with 200.
# httpx 0.28.1, aiohttp 3.14.5, tornado 6.6.1, beside requests 2.34.2 with urllib3 2.8.0;
# https://www.rfc-editor.org/rfc/rfc9110#section-8.4
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check \
    'httpx==0.28.1' 'requests==2.34.2' 'urllib3==2.8.0' 'aiohttp==3.14.5' 'tornado==6.6.1'
python --version
pip freeze

cat >program.py <<'EOF'
import asyncio
import gzip
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import aiohttp
import httpx
import requests
from tornado.httpclient import AsyncHTTPClient

once = gzip.compress(b"apple pie", mtime=0)
twice = gzip.compress(once, mtime=0)
RESPONSES = {
    "/gzip": (once, ["gzip"]),
    "/x-gzip": (once, ["x-gzip"]),
    "/gzip,gzip": (twice, ["gzip, gzip"]),
    "/two-fields": (twice, ["gzip", "gzip"]),
}
NAMES = {b"apple pie": "decoded", once: "compressed", twice: "compressed twice"}


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        body, codings = RESPONSES[self.path]
        self.send_response(200)
        for coding in codings:
            self.send_header("Content-Encoding", coding)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


async def by_aiohttp(address):
    async with aiohttp.ClientSession() as session:
        async with session.get(address) as response:
            return await response.read()


async def by_tornado(address):
    return (await AsyncHTTPClient().fetch(address)).body


def by_curl(address):
    command = ["curl", "--silent", "--fail", "--compressed", address]
    return subprocess.run(command, check=True, capture_output=True).stdout


server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
seen = {}
for path in RESPONSES:
    address = f"http://127.0.0.1:{server.server_port}{path}"
    bodies = {
        "curl": by_curl(address),
        "httpx": httpx.get(address).content,
        "requests": requests.get(address).content,
        "aiohttp": asyncio.run(by_aiohttp(address)),
        "tornado": asyncio.run(by_tornado(address)),
    }
    seen[path] = {name: NAMES[body] for name, body in bodies.items()}
    print(path, seen[path])
server.shutdown()
server.server_close()
decoded, left = "decoded", "compressed"
if seen != {
    path: dict(zip(["curl", "httpx", "requests", "aiohttp", "tornado"], names, strict=True))
    for path, names in {
        "/gzip": [decoded] * 5,
        "/x-gzip": [decoded, left, decoded, left, left],
        "/gzip,gzip": [decoded, decoded, decoded, "compressed twice", "compressed twice"],
        "/two-fields": [decoded, decoded, decoded, left, "compressed twice"],
    }.items()
}:
    sys.exit("The behaviour has changed.")
EOF
python program.py
