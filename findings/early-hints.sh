#!/usr/bin/env bash
# Expected: an HTTP client skips interim responses (1xx) that it doesn't know, also if it hasn't
# asked for them, and returns the final response (RFC 9110, 15.2). 103 Early Hints is such a
# response (RFC 8297).
# Seen: requests, httplib2 and aiosonic return the 103 as the response, with an empty body. Python's
# http.client, which the first two use, skips a 100 and nothing else; for aiosonic a 100 is a
# response, too. urllib.request raises an HTTPError. httpx, aiohttp and tornado return the 200 that
# follows.
# It matters because servers and CDNs send early hints once somebody switches them on. Until then,
# each test passes.
# requests 2.34.2 with urllib3 2.8.0, httplib2 0.32.1, aiosonic 1.3.3, beside httpx 0.28.1, aiohttp
# 3.14.5, tornado 6.6.1; https://www.rfc-editor.org/rfc/rfc9110#section-15.2 and
# https://www.rfc-editor.org/rfc/rfc8297
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check \
    'httplib2==0.32.1' 'aiosonic==1.3.3' 'requests==2.34.2' 'urllib3==2.8.0' 'httpx==0.28.1' \
    'aiohttp==3.14.5' 'tornado==6.6.1'
python --version
pip freeze

cat >program.py <<'EOF'
import asyncio
import socketserver
import sys
import threading
import urllib.error
import urllib.request

import aiohttp
import aiosonic
import httplib2
import httpx
import requests
from tornado.httpclient import AsyncHTTPClient

INTERIM = {
    "100": b"HTTP/1.1 100 Continue\r\n\r\n",
    "103": b"HTTP/1.1 103 Early Hints\r\nLink: </pies.css>; rel=preload; as=style\r\n\r\n",
}
FINAL = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\npie"


class Handler(socketserver.StreamRequestHandler):
    def handle(self):
        path = self.rfile.readline().split()[1].decode()
        while self.rfile.readline().strip():
            pass
        self.wfile.write(INTERIM[path.strip("/")] + FINAL)


def by_urllib(url):
    try:
        with urllib.request.urlopen(url) as response:
            return response.status, response.read()
    except urllib.error.HTTPError as error:
        return type(error).__name__, error.code


def by_httplib2(url):
    response, body = httplib2.Http().request(url)
    return response.status, body


def by_requests(url):
    response = requests.get(url)
    return response.status_code, response.content


def by_httpx(url):
    response = httpx.get(url)
    return response.status_code, response.content


async def by_aiosonic(url):
    async with aiosonic.HTTPClient() as client:
        response = await client.get(url)
        return response.status_code, await response.content()


async def by_aiohttp(url):
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        return response.status, await response.read()


async def by_tornado(url):
    response = await AsyncHTTPClient().fetch(url)
    return response.code, response.body


seen = {}
with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
    threading.Thread(target=server.serve_forever, daemon=True).start()
    for status in INTERIM:
        url = f"http://127.0.0.1:{server.server_address[1]}/{status}"
        for client in (
            by_urllib,
            by_httplib2,
            by_aiosonic,
            by_requests,
            by_httpx,
            by_aiohttp,
            by_tornado,
        ):
            result = client(url)
            if asyncio.iscoroutine(result):
                result = asyncio.run(result)
            name = client.__name__.removeprefix("by_")
            print(f"{status} before 200, {name}: {result}")
            if result != (200, b"pie"):
                seen[status, name] = result
    server.shutdown()
if seen != {
    ("100", "aiosonic"): (100, b""),
    ("103", "urllib"): ("HTTPError", 103),
    ("103", "httplib2"): (103, b""),
    ("103", "aiosonic"): (103, b""),
    ("103", "requests"): (103, b""),
}:
    sys.exit("The behaviour has changed.")
EOF
python program.py
