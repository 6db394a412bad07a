#!/usr/bin/env bash
# Expected: for a response with `Link: </pies?page=2>; rel="next last"`, the clients'
# `links["next"]` is the second page, because a rel is a list of relations.
# Seen: requests, httpx and aiohttp have one entry "next last", and neither "next" nor "last". For
# `Rel=next`, whose name is valid in any case, they have no relation, and the entry's key is its
# address.
# It matters for programs that read lists in pages until there is no "next": they end before the
# last page, without an error, and only where the server puts both relations into one.
# requests 2.34.2, httpx 0.28.1, aiohttp 3.14.5; https://www.rfc-editor.org/rfc/rfc8288#section-3.3
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'requests==2.34.2' 'httpx==0.28.1' 'aiohttp==3.14.5'
python --version
pip freeze

cat >program.py <<'EOF'
import asyncio
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import aiohttp
import httpx
import requests

LINKS = (
    '</pies?page=2>; rel="next last"',
    "</pies?page=2>; Rel=next",
    '</pies?page=2>; rel="next", </pies?page=2>; rel="last"',
)


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(204)
        self.send_header("Link", LINKS[int(self.path.strip("/"))])
        self.end_headers()

    def log_message(self, *args):
        pass


async def by_aiohttp(address):
    async with aiohttp.ClientSession() as session:
        async with session.get(address) as response:
            return response.links


server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
seen = {}
for number, header in enumerate(LINKS):
    address = f"http://127.0.0.1:{server.server_port}/{number}"
    seen[header] = [
        sorted(links)
        for links in (
            requests.get(address).links,
            httpx.get(address).links,
            asyncio.run(by_aiohttp(address)),
        )
    ]
    print(f"Link: {header}\n  requests, httpx, aiohttp: {seen[header]}")
server.shutdown()
server.server_close()
expected = ["next last"], ["/pies?page=2"], ["last", "next"]
if seen != {header: [keys] * 3 for header, keys in zip(LINKS, expected, strict=True)}:
    sys.exit("The behaviour has changed.")
EOF
python program.py
