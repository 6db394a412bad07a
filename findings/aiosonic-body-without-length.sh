#!/usr/bin/env bash
# Expected: a response without Content-Length and Transfer-Encoding has a body that ends when the
# server closes the connection (RFC 9112, 6.3, rule 8).
# Seen: for aiosonic, the body of such a response is empty. The status is 200 and nothing is raised.
# With `Connection: close` it is empty, too. With HTTP/1.0 servers this is how each page without a
# length looks.
# It matters for devices, CGI scripts and small servers that don't know the length beforehand: the
# program goes on with an empty text in place of a measurement.
# aiosonic 1.3.3, beside httpx 0.28.1; https://www.rfc-editor.org/rfc/rfc9112#section-6.3
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'aiosonic==1.3.3' 'httpx==0.28.1'
python --version
pip freeze

cat >program.py <<'EOF'
import asyncio
import socketserver
import sys
import threading

import aiosonic
import httpx

HEADS = {
    "length": b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n",
    "none": b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n",
    "close": b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n",
    "1.0": b"HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\n",
}


class Handler(socketserver.StreamRequestHandler):
    def handle(self):
        path = self.rfile.readline().split()[1].decode()
        while self.rfile.readline().strip():
            pass
        self.wfile.write(HEADS[path.strip("/")] + b"apple pie")


async def get(url):
    async with aiosonic.HTTPClient() as client:
        response = await client.get(url)
        return response.status_code, await response.content()


seen = {}
with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
    threading.Thread(target=server.serve_forever, daemon=True).start()
    for name in HEADS:
        url = f"http://127.0.0.1:{server.server_address[1]}/{name}"
        seen[name] = asyncio.run(get(url))
        print(f"{name}: aiosonic {seen[name]}, httpx {httpx.get(url).content}")
    server.shutdown()
if seen != {
    "length": (200, b"apple pie"),
    "none": (200, b""),
    "close": (200, b""),
    "1.0": (200, b""),
}:
    sys.exit("The behaviour has changed.")
EOF
python program.py
