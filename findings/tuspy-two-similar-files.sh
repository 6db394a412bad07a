#!/usr/bin/env bash
# Expected: with store_url=True, which resumes interrupted uploads, tuspy uploads each file that the
# server doesn't have.
# Seen: two recordings have the same size and the same first 64 KiB. For the second, upload() sends
# no byte, raises nothing, and its url is that of the first. tuspy finds an earlier upload by the
# file's size and its first 65,536 bytes, and keeps the URL when an upload is complete.
# It matters because recordings, disk images and databases of one device often have the same size
# and the same beginning: the server never gets the second, and the program may delete its only
# copy.
# tuspy 1.1.0; https://github.com/tus/tus-py-client/blob/main/tusclient/fingerprint/fingerprint.py
# (https://tus.io/protocols/resumable-upload leaves it to the client how it finds an earlier upload)
set -eu

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'tuspy==1.1.0'
python --version
pip freeze

cat >program.py <<'EOF'
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from tusclient.client import TusClient
from tusclient.storage.filestorage import FileStorage

uploads = []  # [the declared length, the bytes]


class Server(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def respond(self, status, **headers):
        self.send_response(status)
        for name, value in {"Tus-Resumable": "1.0.0", "Content-Length": 0, **headers}.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()

    def do_POST(self):
        uploads.append([int(self.headers["Upload-Length"]), b""])
        self.respond(201, Location=f"/files/{len(uploads) - 1}")

    def do_HEAD(self):
        length, data = uploads[int(self.path.rpartition("/")[2])]
        self.respond(200, Upload_Length=length, Upload_Offset=len(data))

    def do_PATCH(self):
        upload = uploads[int(self.path.rpartition("/")[2])]
        upload[1] += self.rfile.read(int(self.headers["Content-Length"]))
        self.respond(204, Upload_Offset=len(upload[1]))


server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
threading.Thread(target=server.serve_forever, daemon=True).start()
client = TusClient(f"http://127.0.0.1:{server.server_port}/files/")
storage = FileStorage("urls.json")

silence = bytes(65536)  # the first seconds of both recordings
recordings = [silence + b"Monday" * 10_000, silence + b"Friday" * 10_000]
for number, recording in enumerate(recordings):
    file = Path(f"{number}.wav")
    file.write_bytes(recording)
    uploader = client.uploader(str(file), store_url=True, url_storage=storage)
    uploader.upload()
    print("uploaded", uploader.offset, "of", len(recording), "bytes to", uploader.url)
server.shutdown()
stored = [data for _, data in uploads]
print("Monday's recording is stored:", recordings[0] in stored)
print("Friday's recording is stored:", recordings[1] in stored)
if stored != recordings[:1]:
    sys.exit("The behaviour has changed.")
EOF
python program.py
