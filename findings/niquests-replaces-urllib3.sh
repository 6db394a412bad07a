#!/usr/bin/env bash
# Expected: installing niquests beside requests changes nothing for requests, which uses urllib3
# 2.8.0.
# Seen: niquests depends on urllib3-future, whose files replace those of urllib3. `import urllib3`
# gives
# version 2.25.904, while pip still lists urllib3 2.8.0 and `pip check` finds nothing. requests uses
# the other library from then on, and doesn't decode x-gzip any more. Installing urllib3 2.8.0
# again, even with --force-reinstall, doesn't bring it back.
# It matters because niquests may come as a dependency of something else: a program that was tested
# with urllib3 runs with a fork, and what pip lists isn't what runs.
# niquests 3.21.2, urllib3-future 2.25.904, urllib3 2.8.0, requests 2.34.2;
# https://github.com/jawah/urllib3.future (README, "drop-in replacement")
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
import gzip
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version

import requests
import urllib3


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        body = gzip.compress(b"apple pie")
        self.send_response(200)
        self.send_header("Content-Encoding", "x-gzip")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
body = requests.get(f"http://127.0.0.1:{server.server_port}/").content
server.shutdown()
server.server_close()
kind = "decoded" if body == b"apple pie" else "compressed"
print(f"urllib3 {urllib3.__version__}, listed {version('urllib3')}, x-gzip is {kind}")
EOF
python program.py | tee seen
pip install --quiet --disable-pip-version-check 'niquests==3.21.2' 'urllib3-future==2.25.904'
pip check
python program.py | tee -a seen
pip install --quiet --disable-pip-version-check --force-reinstall --no-deps 'urllib3==2.8.0'
python program.py | tee -a seen
cat >expected <<'EOF'
urllib3 2.8.0, listed 2.8.0, x-gzip is decoded
urllib3 2.25.904, listed 2.8.0, x-gzip is compressed
urllib3 2.25.904, listed 2.8.0, x-gzip is compressed
EOF
cmp seen expected || { echo "The behaviour has changed."; exit 1; }
