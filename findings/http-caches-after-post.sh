#!/usr/bin/env bash
# Expected: a client with an HTTP cache fetches a page again after it has sent a POST to its
# address. A cache "MUST invalidate the target URI" when it receives a non-error response to an
# unsafe method.
# Seen: CacheControl does so for PUT, PATCH and DELETE, but not for POST. requests-cache doesn't for
# any of the four, even with cache_control=True. hishel, with rfc=True, does so for all.
# It matters because forms and APIs add to a list by POST to the list's address: the program then
# reads the list without its own entry, until the response expires.
# CacheControl 0.14.4, requests-cache 1.3.3, hishel 2.0.0;
# https://www.rfc-editor.org/rfc/rfc9111#section-4.4;
# https://github.com/psf/cachecontrol/blob/master/cachecontrol/adapter.py, invalidating_methods
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check \
    'CacheControl==0.14.4' 'requests-cache==1.3.3' 'requests==2.34.2' 'hishel==2.0.0' \
    'httpx==0.28.1'
python --version
pip freeze

cat >program.py <<'EOF'
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import cachecontrol
import requests
import requests_cache
from hishel import SqliteStorage
from hishel.httpx import CacheClient

METHODS = "POST", "PUT", "PATCH", "DELETE"


class Handler(BaseHTTPRequestHandler):
    number = 0

    def respond(self):
        Handler.number += 1
        body = str(Handler.number).encode()
        self.send_response(200)
        self.send_header("Cache-Control", "max-age=600")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = respond

    def log_message(self, *args):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
clients = {
    "CacheControl": cachecontrol.CacheControl(requests.Session()),
    "requests-cache": requests_cache.CachedSession(backend="memory", cache_control=True),
    "hishel": CacheClient(storage=SqliteStorage(database_path="hishel.db"), rfc=True),
}
seen = {}
for name, client in clients.items():
    for method in METHODS:
        address = f"http://127.0.0.1:{server.server_port}/{name}/{method}"
        before, cached = client.get(address).text, client.get(address).text
        client.request(method, address)
        seen[name, method] = before == cached, client.get(address).text != before
    print(f"{name} fetches again after:", *(m for m in METHODS if seen[name, m][1]))
    client.close()
server.shutdown()
server.server_close()
expected = {
    (name, method): (True, name == "hishel" or (name == "CacheControl" and method != "POST"))
    for name in clients
    for method in METHODS
}
if seen != expected:
    sys.exit("The behaviour has changed.")
EOF
python program.py
