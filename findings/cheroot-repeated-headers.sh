#!/usr/bin/env bash
# Expected: two request headers of one name reach a WSGI application as one value, joined by a comma,
# as with wsgiref or gunicorn.
# Seen: cheroot joins the names of a fixed list (Accept, If-None-Match ...). Of every other header the
# application gets only the last value.
# It matters for headers that are lists, but aren't in cheroot's: a client may send Prefer and
# tracestate several times, and the application silently loses all but the last.
# cheroot 11.1.2 (the server of CherryPy);
# https://github.com/cherrypy/cheroot/blob/v11.1.2/cheroot/server.py, comma_separated_headers;
# https://www.rfc-editor.org/rfc/rfc7240#section-2 (Prefer),
# https://www.w3.org/TR/trace-context/#tracestate-header
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'cheroot==11.1.2'
python --version
pip freeze

cat >program.py <<'EOF'
import socket
import sys
import threading
import wsgiref.simple_server

from cheroot import wsgi

NAMES = "HTTP_ACCEPT", "HTTP_PREFER", "HTTP_TRACESTATE"
REQUEST = b"""\
GET / HTTP/1.1
Host: localhost
Connection: close
Accept: text/html
Accept: text/plain
Prefer: respond-async
Prefer: wait=10
tracestate: first=1
tracestate: second=2

"""


def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    seen.append([environ[name] for name in NAMES])
    return [b""]


def get(address):
    with socket.create_connection(address) as client:
        client.sendall(REQUEST.replace(b"\n", b"\r\n"))
        while client.recv(65536):
            pass


seen = []
with wsgiref.simple_server.make_server("127.0.0.1", 0, app) as other:
    thread = threading.Thread(target=other.handle_request)
    thread.start()
    get(other.server_address)
    thread.join()
server = wsgi.Server(("127.0.0.1", 0), app)
server.prepare()
threading.Thread(target=server.serve, daemon=True).start()
get(server.bind_addr)
server.stop()
print("wsgiref", dict(zip(NAMES, seen[0], strict=True)))
print("cheroot", dict(zip(NAMES, seen[1], strict=True)))
if seen != [
    ["text/html,text/plain", "respond-async,wait=10", "first=1,second=2"],
    ["text/html, text/plain", "wait=10", "second=2"],
]:
    sys.exit("The behaviour has changed.")
EOF
python program.py
