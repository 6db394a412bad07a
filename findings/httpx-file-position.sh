#!/usr/bin/env bash
# Expected: a client uploads a file from its position, like requests and aiohttp do and like
# file.read() would: a program has read the file's first line, and sends the rest.
# Seen: httpx takes the size of the whole file for the Content-Length of the rest. An upload of the
# file as `content` raises h11's LocalProtocolError ("Too little data for declared Content-Length"),
# which isn't an httpx.HTTPError. In a form (`files`) it sends the file from its beginning.
# It matters for uploads that check a file's type or skip its header first. The program works with
# requests, and with httpx it fails or uploads another content with 200. httpx2 sends the rest as
# `content`, and the whole file in a form.
# httpx 0.28.1, h11 0.16.0, httpx2 2.16.2, beside requests 2.34.2, aiohttp 3.14.5;
# https://github.com/encode/httpx/blob/master/httpx/_utils.py, peek_filelike_length
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check \
    'httpx==0.28.1' 'h11==0.16.0' 'httpx2==2.16.2' 'requests==2.34.2' 'aiohttp==3.14.5'
python --version
pip freeze

cat >program.py <<'EOF'
import asyncio
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import aiohttp
import h11
import httpx
import httpx2
import requests


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        length = int(self.headers["Content-Length"])
        body = self.rfile.read(length)
        if len(body) < length:
            return  # the client has closed the connection
        received = "heading, " * (b"heading" in body) + "rest" * (b"rest" in body)
        self.send_response(200)
        self.send_header("Content-Length", str(len(received)))
        self.end_headers()
        self.wfile.write(received.encode())

    def log_message(self, *args):
        pass


def read_once():
    file = path.open("rb")
    file.readline()
    return file


async def by_aiohttp(form):
    async with aiohttp.ClientSession() as session:
        data = {"pies": read_once()} if form else read_once()
        async with session.post(address, data=data) as response:
            return await response.text()


def upload(name, form):
    if name == "aiohttp":
        return asyncio.run(by_aiohttp(form))
    if name == "requests":
        return requests.post(address, **({"files" if form else "data": read(form)})).text
    client = {"httpx": httpx, "httpx2": httpx2}[name]
    try:
        return client.post(address, **({"files" if form else "content": read(form)})).text
    except h11.LocalProtocolError as error:
        return repr(error)


def read(form):
    return {"pies": read_once()} if form else read_once()


path = Path("pies.csv")
path.write_text("heading\nrest\n")
server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
address = f"http://127.0.0.1:{server.server_port}/"
seen = {}
for name in "requests", "aiohttp", "httpx", "httpx2":
    seen[name] = [upload(name, form) for form in (False, True)]
    print("{}: as a body: {}; in a form: {}".format(name, *seen[name]))
server.shutdown()
server.server_close()
error = "LocalProtocolError('Too little data for declared Content-Length')"
if seen != {
    "requests": ["rest", "rest"],
    "aiohttp": ["rest", "rest"],
    "httpx": [error, "heading, rest"],
    "httpx2": ["rest", "heading, rest"],
}:
    sys.exit("The behaviour has changed.")
EOF
python program.py
