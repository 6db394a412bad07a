#!/usr/bin/env bash
# Expected: a client with digest authentication answers a server that offers Basic and Digest. The
# server may send both challenges in one header or in two, and a client has to find the one that it
# knows (RFC 9110, sections 5.3 and 11.6.1).
# Seen: if Basic comes first in one header, httpx and httpx2 don't send credentials, because their
# DigestAuth reads a header only if it begins with "Digest". aiohttp's DigestAuthMiddleware reads
# the first header only, so two headers don't help it. In each case the program gets the 401,
# without an exception or a warning. requests sends the credentials to all.
# It matters for cameras, routers and printers, which often offer both, and behind proxies, which
# may join two headers to one: the name and the password are right, and the client gets a 401.
# httpx 0.28.1, httpx2 2.16.2, aiohttp 3.14.5, beside requests 2.34.2;
# https://www.rfc-editor.org/rfc/rfc9110#section-11.6.1;
# https://github.com/encode/httpx/blob/master/httpx/_auth.py, DigestAuth.auth_flow;
# https://github.com/aio-libs/aiohttp/blob/master/aiohttp/client_middleware_digest_auth.py
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'httpx==0.28.1' 'httpx2==2.16.2' \
    'aiohttp==3.14.5' 'requests==2.34.2'
python --version
pip freeze

cat >program.py <<'EOF'
import asyncio
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import aiohttp
import httpx
import httpx2
import requests
from requests.auth import HTTPDigestAuth

BASIC = 'Basic realm="pies"'
DIGEST = 'Digest realm="pies", nonce="5ccc069c403ebaf9f0171e9517f40e41", qop="auth"'
CHALLENGES = {
    "/one-header/digest-first": [f"{DIGEST}, {BASIC}"],
    "/one-header/basic-first": [f"{BASIC}, {DIGEST}"],
    "/two-headers/digest-first": [DIGEST, BASIC],
    "/two-headers/basic-first": [BASIC, DIGEST],
}


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        answered = self.headers.get("Authorization", "").startswith("Digest ")
        self.send_response(200 if answered else 401)
        for challenge in CHALLENGES[self.path]:
            self.send_header("WWW-Authenticate", challenge)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *args):
        pass


async def by_aiohttp(address):
    digest = aiohttp.DigestAuthMiddleware("ann", "baker")
    async with aiohttp.ClientSession(middlewares=(digest,)) as session:
        async with session.get(address) as response:
            return response.status


server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
seen = {}
for path in CHALLENGES:
    address = f"http://127.0.0.1:{server.server_port}{path}"
    seen[path] = [
        httpx.get(address, auth=httpx.DigestAuth("ann", "baker")).status_code,
        httpx2.get(address, auth=httpx2.DigestAuth("ann", "baker")).status_code,
        asyncio.run(by_aiohttp(address)),
        requests.get(address, auth=HTTPDigestAuth("ann", "baker")).status_code,
    ]
    print(f"{path}: httpx, httpx2, aiohttp, requests: {seen[path]}")
server.shutdown()
server.server_close()
if seen != {
    "/one-header/digest-first": [200, 200, 200, 200],
    "/one-header/basic-first": [401, 401, 401, 200],
    "/two-headers/digest-first": [200, 200, 200, 200],
    "/two-headers/basic-first": [200, 200, 401, 200],
}:
    sys.exit("The behaviour has changed.")
EOF
python program.py
