#!/usr/bin/env bash
# Expected: a streamed POST that is redirected with a 307 or 308 is sent again with its body (RFC
# 9110, section 15.4.8: the request isn't changed), or the client raises an exception, because an
# iterator can't be read twice.
# Seen: requests and urllib3 send the second request with an empty chunked body. If the server
# accepts that, the client has a 200. httpx and aiohttp raise an exception. With urllib3, a file
# that could be read again is empty too, while requests reads it again.
# It matters for uploads from a generator, which are streamed because they are large: a site that
# moves to another host or adds a slash by 307 stores empty files, and the client reports success.
# requests 2.34.2, urllib3 2.8.0, beside httpx 0.28.1 and aiohttp 3.14.5;
# https://www.rfc-editor.org/rfc/rfc9110#section-15.4.8;
# https://github.com/psf/requests/blob/main/src/requests/sessions.py, resolve_redirects;
# https://github.com/urllib3/urllib3/blob/main/src/urllib3/poolmanager.py, urlopen
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'requests==2.34.2' 'urllib3==2.8.0' \
    'httpx==0.28.1' 'aiohttp==3.14.5'
python --version
pip freeze

cat >program.py <<'EOF'
import asyncio
import io
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import aiohttp
import httpx
import requests
import urllib3


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def body(self):
        if self.headers["Transfer-Encoding"] != "chunked":
            return self.rfile.read(int(self.headers["Content-Length"]))
        chunks = []
        while size := int(self.rfile.readline() or b"0", 16):
            chunks.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(chunks)

    def do_POST(self):
        text = b"received %d bytes" % len(self.body())
        self.send_response(307 if self.path == "/old" else 200)
        self.send_header("Location", "/new")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *args):
        pass


def pieces():
    yield b"apple "
    yield b"pie"


async def pieces_later():
    yield b"apple pie"


def by_requests(address, body):
    return requests.post(address, data=body).text


def by_urllib3(address, body):
    with urllib3.PoolManager() as pool:
        return pool.request("POST", address, body=body).data.decode()


def by_httpx(address, body):
    return httpx.post(address, content=body, follow_redirects=True).text


def by_aiohttp(address, body):
    async def main():
        async with aiohttp.ClientSession() as session:
            async with session.post(address, data=body) as response:
                return await response.text()

    return asyncio.run(main())


server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
server.handle_error = lambda *_: None  # clients that raise an exception close their connection
threading.Thread(target=server.serve_forever, daemon=True).start()
seen = {}
for name, post, body in (
    ("requests, generator", by_requests, pieces()),
    ("requests, file", by_requests, io.BytesIO(b"apple pie")),
    ("urllib3, generator", by_urllib3, pieces()),
    ("urllib3, file", by_urllib3, io.BytesIO(b"apple pie")),
    ("httpx, generator", by_httpx, pieces()),
    ("aiohttp, generator", by_aiohttp, pieces_later()),
):
    try:
        seen[name] = post(f"http://127.0.0.1:{server.server_port}/old", body)
    except Exception as error:
        seen[name] = type(error).__name__
    print(f"{name}: {seen[name]}")
server.shutdown()
server.server_close()
if seen != {
    "requests, generator": "received 0 bytes",
    "requests, file": "received 9 bytes",
    "urllib3, generator": "received 0 bytes",
    "urllib3, file": "received 0 bytes",
    "httpx, generator": "StreamConsumed",
    "aiohttp, generator": "ClientPayloadError",
}:
    sys.exit("The behaviour has changed.")
EOF
python program.py
