#!/usr/bin/env bash
# Expected: parameters of a client, or of a call, are added to those in the address, as requests
# and aiohttp add them.
# Seen: they replace the address's query. A client with params={"key": "k"} that follows a link to
# /pies?page=2 requests /pies?key=k. With params={} in the call, the query is removed.
# It matters for lists in pages, with an API that has its key in the query: for each "next" link
# the client gets the first page again, whose link leads to the second page again.
# httpx 0.28.1 and httpx2 2.16.2, beside requests 2.34.2 and aiohttp 3.14.5;
# https://github.com/encode/httpx/blob/0.28.1/httpx/_urls.py
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check \
    'httpx==0.28.1' 'httpx2==2.16.2' 'requests==2.34.2' 'aiohttp==3.14.5'
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


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        body = self.path.encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


def by_httpx(address, client, params, module=httpx):
    with module.Client(params=client) as session:
        return session.get(address, params=params).text


def by_httpx2(address, client, params):
    return by_httpx(address, client, params, module=httpx2)


def by_requests(address, client, params):
    with requests.Session() as session:
        session.params = client
        return session.get(address, params=params).text


def by_aiohttp(address, client, params):
    async def request():
        async with (
            aiohttp.ClientSession() as session,
            session.get(address, params={**(client or {}), **(params or {})}) as response,
        ):
            return await response.text()

    return asyncio.run(request())


server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
address = f"http://127.0.0.1:{server.server_port}/pies?page=2"
KEY = {"key": "k"}
seen = {}
for get in by_httpx, by_httpx2, by_requests, by_aiohttp:
    for client, params in (KEY, None), (None, KEY), (None, {}):
        requested = get(address, client, params)
        print(f"{get.__name__}, client: {client}, call: {params}: {requested}")
        seen.setdefault(get.__name__, []).append(requested)
server.shutdown()
server.server_close()
added = ["/pies?page=2&key=k", "/pies?page=2&key=k", "/pies?page=2"]
replaced = ["/pies?key=k", "/pies?key=k", "/pies"]
if seen != {
    "by_httpx": replaced,
    "by_httpx2": replaced,
    "by_requests": added,
    "by_aiohttp": added,
}:
    sys.exit("The behaviour has changed.")
EOF
python program.py
