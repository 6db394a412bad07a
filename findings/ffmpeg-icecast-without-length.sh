#!/usr/bin/env bash
# Expected: ffmpeg sends to icecast:// by HTTP/1.1, with PUT, so a stream has a Transfer-Encoding,
# as with "-method PUT http://".
# Seen: the request has neither a Transfer-Encoding nor a Content-Length. After the headers, the
# sound follows as it is, although by RFC 9112, section 6.3, such a request has no body.
# It matters because only servers made for Icecast's sources understand this: any other server, and a
# proxy before Icecast, sees an empty PUT, may respond with success, and takes the sound for the next
# request.
# ffmpeg 9.0.2 of imageio-ffmpeg 0.8.1; https://www.rfc-editor.org/rfc/rfc9112#section-6.3
set -eu

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'imageio-ffmpeg==0.8.1'
python --version
pip freeze

cat >program.py <<'EOF'
import socket
import subprocess
import sys
import threading

from imageio_ffmpeg import get_ffmpeg_exe

print(subprocess.run([get_ffmpeg_exe(), "-version"], capture_output=True).stdout.split(b"\n")[0])
listener = socket.create_server(("127.0.0.1", 0))
listener.settimeout(60)
port = listener.getsockname()[1]
requests = []


def receive():
    """Accept a request, tell the client to continue, and store all bytes."""
    connection, _ = listener.accept()
    with connection:
        connection.settimeout(60)
        received = b""
        while data := connection.recv(65536):
            received += data
            if received.endswith(b"\r\n\r\n") and b"100-continue" in received:
                connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
            elif received.endswith(b"0\r\n\r\n"):
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    requests.append(received)


seen = []
sound = "-v error -f lavfi -i sine=440 -t 1 -c:a mp2 -f mp2".split()
for target in (
    ["-method", "PUT", f"http://127.0.0.1:{port}/live"],
    ["-content_type", "audio/mpeg", f"icecast://source:pies@127.0.0.1:{port}/live"],
):
    thread = threading.Thread(target=receive)
    thread.start()
    subprocess.run([get_ffmpeg_exe(), *sound, *target], timeout=60)
    thread.join()
    head, _, body = requests.pop().partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    lengths = [line for line in lines if line.startswith(("Transfer-Enc", "Content-Length"))]
    print(target[-1].partition(":")[0], lines[0], lengths, f"then {len(body)} bytes")
    seen.append((lines[0], lengths, len(body) > 10_000))
if seen != [
    ("PUT /live HTTP/1.1", ["Transfer-Encoding: chunked"], True),
    ("PUT /live HTTP/1.1", [], True),
]:
    sys.exit("The behaviour has changed.")
EOF
python program.py
