#!/usr/bin/env bash
# Expected: of two Set-Cookie fields for one cookie in a response, the later one counts. If it has
# Max-Age=0, the client has no such cookie afterwards (RFC 6265, 5.3, steps 11 and 12).
# Seen: requests, httpx and niquests keep the cookie. Python's http.cookiejar, which they use,
# deletes while it parses and stores afterwards. If the second field is in a response of its own,
# the cookie is deleted. aiohttp and curl delete it in both cases.
# It matters for tests and scrapers: a session that renews its cookie before each response, and a
# logout that then deletes it, make such responses, and the user is still logged in.
# requests 2.34.2, httpx 0.28.1, niquests 3.21.2, beside aiohttp 3.14.5;
# https://www.rfc-editor.org/rfc/rfc6265#section-5.3;
# https://github.com/python/cpython/blob/3.11/Lib/http/cookiejar.py, _cookie_from_cookie_tuple
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check \
    'requests==2.34.2' 'httpx==0.28.1' 'niquests==3.21.2' 'aiohttp==3.14.5'
python --version
pip freeze

cat >program.py <<'EOF'
import asyncio
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import aiohttp
import httpx
import niquests
import requests

SET, DELETE = "session=1; Path=/", "session=; Path=/; Max-Age=0"
PATHS = {"/login": [SET], "/logout": [DELETE], "/renew-and-logout": [SET, DELETE]}


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        body = (self.headers["Cookie"] or "no cookie").encode()
        self.send_response(200)
        for cookie in PATHS.get(self.path, []):
            self.send_header("Set-Cookie", cookie)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


def get(client, addresses):
    with client:
        return [client.get(address).text for address in addresses][-1]


async def get_by_aiohttp(addresses):
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as session:
        for address in addresses:
            async with session.get(address) as response:
                text = await response.text()
    return text


def get_by_curl(addresses):
    Path("jar").unlink(missing_ok=True)
    for address in addresses:
        command = ["curl", "--silent", "--cookie", "jar", "--cookie-jar", "jar", address]
        text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return text


server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
seen = {}
for path in "/logout", "/renew-and-logout":
    addresses = [f"http://127.0.0.1:{server.server_port}{part}" for part in ("/login", path, "/")]
    seen[path] = {
        "requests": get(requests.Session(), addresses),
        "httpx": get(httpx.Client(), addresses),
        "niquests": get(niquests.Session(), addresses),
        "aiohttp": asyncio.run(get_by_aiohttp(addresses)),
        "curl": get_by_curl(addresses),
    }
    print(f"after {path}: {seen[path]}")
server.shutdown()
server.server_close()
kept = {"requests", "httpx", "niquests"}
if seen != {
    "/logout": dict.fromkeys(seen["/logout"], "no cookie"),
    "/renew-and-logout": {
        name: "session=1" if name in kept else "no cookie" for name in seen["/logout"]
    },
}:
    sys.exit("The behaviour has changed.")
EOF
python program.py
