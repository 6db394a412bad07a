#!/usr/bin/env bash
# Expected: a response with Content-Encoding: gzip is decoded to its end. RFC 1952, section 2.2,
# defines a gzip file as a series of members, whose contents belong together.
# Seen: httpx and httpx2 return the first member. The rest is lost, with 200 and without an error,
# whether the response is read at once or as a stream. requests, aiohttp and tornado return
# everything.
# It matters for files that are compressed in advance: `cat a.gz b.gz`, logs that a program appends
# to, bgzip and parallel compressors write several members, and the received file has only its
# beginning. A log or a table that ends early looks complete.
# httpx 0.28.1, httpx2 2.16.2, beside requests 2.34.2, aiohttp 3.14.5 and tornado 6.6.1;
# https://www.rfc-editor.org/rfc/rfc1952#page-5;
# https://www.rfc-editor.org/rfc/rfc9110#section-8.4.1.3;
# https://github.com/encode/httpx/blob/master/httpx/_decoders.py, GZipDecoder
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'httpx==0.28.1' 'httpx2==2.16.2' \
    'requests==2.34.2' 'urllib3==2.8.0' 'aiohttp==3.14.5' 'tornado==6.6.1'
python --version
pip freeze

cat >program.py <<'EOF'
import asyncio
import gzip
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import aiohttp
import httpx
import httpx2
import requests
from tornado.httpclient import AsyncHTTPClient

LOG = [b"apple pie sold\n", b"plum pie sold\n"]
MEMBERS = b"".join(map(gzip.compress, LOG))


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Encoding", "gzip")
        self.send_header("Content-Length", str(len(MEMBERS)))
        self.end_headers()
        self.wfile.write(MEMBERS)

    def log_message(self, *args):
        pass


async def by_aiohttp(address):
    async with aiohttp.ClientSession() as session:
        async with session.get(address) as response:
            return await response.read()


async def by_tornado(address):
    return (await AsyncHTTPClient().fetch(address)).body


def as_stream(client, address):
    with client.stream("GET", address) as response:
        return b"".join(response.iter_bytes(5))


server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
address = f"http://127.0.0.1:{server.server_port}/log"
seen = {
    "httpx": httpx.get(address).content,
    "httpx, stream": as_stream(httpx, address),
    "httpx2": httpx2.get(address).content,
    "httpx2, stream": as_stream(httpx2, address),
    "requests": requests.get(address).content,
    "aiohttp": asyncio.run(by_aiohttp(address)),
    "tornado": asyncio.run(by_tornado(address)),
}
server.shutdown()
server.server_close()
print("gzip.decompress:", gzip.decompress(MEMBERS))
for name, body in seen.items():
    print(f"{name}: {body}")
if seen != {name: LOG[0] if "httpx" in name else b"".join(LOG) for name in seen}:
    sys.exit("The behaviour has changed.")
EOF
python program.py
