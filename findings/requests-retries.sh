#!/usr/bin/env bash
# Expected: with HTTPAdapter(max_retries=3), requests repeats no request that the server has
# received. Its documentation promises this: the retries apply "never to requests where data has
# made it to the server".
# Seen: a GET that gets a 503, a 429 or a 413 with a Retry-After is sent four times, after a wait
# of as many seconds as the server demands. A 503 without this header, or another status, isn't
# repeated, and neither is a POST. The number becomes a Retry of urllib3, which respects
# Retry-After by default.
# It matters because a call with timeout=1 takes minutes, if the server demands a minute for each
# of three retries, and because such servers are busy: they get four times the requests.
# requests 2.34.2, urllib3 2.8.0;
# https://requests.readthedocs.io/en/latest/api/#requests.adapters.HTTPAdapter;
# https://github.com/urllib3/urllib3/blob/main/src/urllib3/util/retry.py, RETRY_AFTER_STATUS_CODES
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'requests==2.34.2' 'urllib3==2.8.0'
python --version
pip freeze

cat >program.py <<'EOF'
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import requests
from requests.adapters import HTTPAdapter


class Handler(BaseHTTPRequestHandler):
    requests = 0

    def respond(self):
        Handler.requests += 1
        status, wait = self.path.strip("/").split("/")
        self.send_response(int(status))
        if wait != "none":
            self.send_header("Retry-After", wait)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_GET = do_POST = respond

    def log_message(self, *args):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
seen = {}
with requests.Session() as session:
    session.mount("http://", HTTPAdapter(max_retries=3))
    for method, path in (
        ("GET", "503/1"),
        ("GET", "429/1"),
        ("GET", "413/1"),
        ("GET", "503/none"),
        ("GET", "500/1"),
        ("POST", "503/1"),
    ):
        Handler.requests, started = 0, time.monotonic()
        address = f"http://127.0.0.1:{server.server_port}/{path}"
        status = session.request(method, address, timeout=1).status_code
        seconds = time.monotonic() - started
        print(f"{method} {path}: {Handler.requests} requests, {status}, {seconds:.1f} seconds")
        seen[method, path] = Handler.requests
        if Handler.requests == 4 and seconds < 3:
            sys.exit("The behaviour has changed.")
server.shutdown()
server.server_close()
if seen != {
    ("GET", "503/1"): 4,
    ("GET", "429/1"): 4,
    ("GET", "413/1"): 4,
    ("GET", "503/none"): 1,
    ("GET", "500/1"): 1,
    ("POST", "503/1"): 1,
}:
    sys.exit("The behaviour has changed.")
EOF
python program.py
