#!/usr/bin/env bash
# Expected: a client sends the value of a cookie back as it came, because it is opaque for the
# client (RFC 6265, 5.4).
# Seen: aiohttp's session rewrites values with characters such as "=", "," or "{" by the rules of
# Python's http.cookies: `dG9rZW4=` comes back as `"dG9rZW4="`, `a,b` as `"a\054b"`, and JSON with
# backslashes. requests and httpx send back what came. CookieJar(quote_cookie=False) helps.
# It matters for servers that aren't written in Python and take quotes and backslashes for a part of
# the value. A signed session is usually base64 with padding, and its signature is then wrong.
# aiohttp 3.14.5, beside requests 2.34.2, httpx 0.28.1;
# https://www.rfc-editor.org/rfc/rfc6265#section-5.4;
# https://docs.aiohttp.org/en/stable/client_reference.html#aiohttp.CookieJar
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'aiohttp==3.14.5' 'requests==2.34.2' 'httpx==0.28.1'
python --version
pip freeze

cat >program.py <<'EOF'
import asyncio
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote

import aiohttp
import httpx
import requests

VALUES = "apple", "dG9rZW4=", "a,b", '{"pie":1}'


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        body = (self.headers["Cookie"] or "").encode()
        self.send_response(200)
        self.send_header("Set-Cookie", f"pie={unquote(self.path[1:])}; Path=/")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


def get(client, address):
    with client:
        client.get(address)
        return client.get(address).text


async def get_by_aiohttp(address, **options):
    jar = aiohttp.CookieJar(unsafe=True, **options)
    async with aiohttp.ClientSession(cookie_jar=jar) as session:
        for _ in range(2):
            async with session.get(address) as response:
                text = await response.text()
    return text


server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
seen = []
for value in VALUES:
    address = str(httpx.URL(f"http://127.0.0.1:{server.server_port}", path="/" + value))
    others = {
        get(requests.Session(), address),
        get(httpx.Client(), address),
        asyncio.run(get_by_aiohttp(address, quote_cookie=False)),
    }
    sent = asyncio.run(get_by_aiohttp(address))
    print(f"Set-Cookie: pie={value} | aiohttp sends {sent} | the others send", *others)
    seen.append((others == {f"pie={value}"}, sent))
server.shutdown()
server.server_close()
if seen != [
    (True, "pie=apple"),
    (True, 'pie="dG9rZW4="'),
    (True, r'pie="a\054b"'),
    (True, r'pie="{\"pie\":1}"'),
]:
    sys.exit("The behaviour has changed.")
EOF
python program.py
