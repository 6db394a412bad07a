#!/usr/bin/env bash
# Expected: the names of content codings are case-insensitive, x-gzip is gzip (RFC 9110, 8.4.1), and
# a gzip body of several members is all of them (RFC 1952, 2.2).
# Seen: treq returns a body in GZIP or x-gzip compressed. Of two members it returns the first, and
# the rest is lost. The status is 200, and nothing is raised or logged.
# It matters for stored log files, which are often made of members that were appended one by one:
# the program reads the first minutes of a day.
# treq 26.7.0, Twisted 26.10.0; https://www.rfc-editor.org/rfc/rfc9110#section-8.4.1 and
# https://www.rfc-editor.org/rfc/rfc1952#section-2.2
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'treq==26.7.0' 'Twisted==26.10.0'
python --version
pip freeze

cat >program.py <<'EOF'
import gzip
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import treq
from twisted.internet import defer, task

once = gzip.compress(b"apple pie", mtime=0)
twice = gzip.compress(b"apple ", mtime=0) + gzip.compress(b"pie", mtime=0)
RESPONSES = {
    "/gzip": ("gzip", once),
    "/GZIP": ("GZIP", once),
    "/x-gzip": ("x-gzip", once),
    "/members": ("gzip", twice),
}


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        coding, body = RESPONSES[self.path]
        self.send_response(200)
        self.send_header("Content-Encoding", coding)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


seen = {}


async def main(reactor):
    for path in RESPONSES:
        response = await treq.get(f"http://127.0.0.1:{server.server_address[1]}{path}")
        seen[path] = await treq.content(response)
        print(path, response.code, seen[path])


with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        task.react(lambda reactor: defer.ensureDeferred(main(reactor)))
    except SystemExit:
        pass
    server.shutdown()
if seen != {"/gzip": b"apple pie", "/GZIP": once, "/x-gzip": once, "/members": b"apple "}:
    sys.exit("The behaviour has changed.")
EOF
python program.py
