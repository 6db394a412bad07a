#!/usr/bin/env bash
# Expected: a client of server-sent events yields the events that a browser dispatches. It discards
# an event without an empty line after it, because the connection may have been lost in between. It
# skips a byte order mark, and lines end at CR and LF only (HTML standard, 9.2.5 and 9.2.6).
# Seen: sseclient-py yields the beginning of an event that was cut off. aiosseclient drops the text
# after a line separator (U+2028). After a byte order mark, sseclient-py and httpx-sse lose the
# first event and aiosseclient its text. niquests does what a browser does.
# It matters because a lost connection is no error for sseclient-py: the last event is half a JSON
# text or, worse, 10 in place of 1000.
# sseclient-py 1.9.0, aiosseclient 0.1.8, httpx-sse 0.4.3, beside niquests 3.21.2;
# https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check \
    'sseclient-py==1.9.0' 'requests==2.34.2' 'aiosseclient==0.1.8' 'aiohttp==3.14.5' \
    'httpx-sse==0.4.3' 'httpx==0.28.1' 'niquests==3.21.2'
python --version
pip freeze

cat >program.py <<'EOF'
import asyncio
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import httpx_sse
import niquests
import requests
import sseclient
from aiosseclient import aiosseclient

STREAMS = {
    "/plain": "data: 1\n\ndata: 2\n\n",
    "/cut-off": "data: 1000\n\ndata: 10",
    "/separator": "data: apple\u2028pie\n\n",
    "/mark": "\ufeffdata: 1\n\ndata: 2\n\n",
}


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        self.wfile.write(STREAMS[self.path].encode())

    def log_message(self, *args):
        pass


def by_sseclient(address):
    with requests.get(address, stream=True) as response:
        return [event.data for event in sseclient.SSEClient(response).events()]


async def by_aiosseclient(address):
    return [event.data async for event in aiosseclient(address)]


def by_httpx_sse(address):
    with httpx.Client() as client, httpx_sse.connect_sse(client, "GET", address) as source:
        return [event.data for event in source.iter_sse()]


def by_niquests(address):
    with niquests.Session() as session:
        source = session.get(address.replace("http", "psse")).extension
        return [event.data for event in iter(source.next_payload, None)]


server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
seen = {}
for path in STREAMS:
    address = f"http://127.0.0.1:{server.server_port}{path}"
    seen[path] = {
        "niquests": by_niquests(address),
        "sseclient-py": by_sseclient(address),
        "aiosseclient": asyncio.run(by_aiosseclient(address)),
        "httpx-sse": by_httpx_sse(address),
    }
    print(f"{STREAMS[path]!r}:", seen[path])
server.shutdown()
server.server_close()
names = "niquests", "sseclient-py", "aiosseclient", "httpx-sse"
if seen != {
    path: dict(zip(names, data, strict=True))
    for path, data in {
        "/plain": [["1", "2"]] * 4,
        "/cut-off": [["1000"], ["1000", "10"], ["1000"], ["1000"]],
        "/separator": [["apple\u2028pie"], ["apple\u2028pie"], ["apple"], ["apple\u2028pie"]],
        "/mark": [["1", "2"], ["2"], ["", "2"], ["2"]],
    }.items()
}:
    sys.exit("The behaviour has changed.")
EOF
python program.py
