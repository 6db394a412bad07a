#!/usr/bin/env bash
# Expected: behind asgiref's WsgiToAsgi or a2wsgi, a Flask application gets all cookies of a
# request. The ASGI specification, in the same repository as WsgiToAsgi, demands that several
# Cookie headers are joined with "; ".
# Seen: both join them with a comma. Browsers send each cookie as a header of its own over HTTP/2,
# and granian passes these headers on unchanged, as ASGI allows. Then Flask has one cookie a with
# the value "1,b=2", and no cookie b. Behind hypercorn, which joins the headers itself, it has
# both.
# It matters because everything works over HTTP/1.1, for example in development. Over HTTP/2, users
# with a second cookie lose their session.
# asgiref 3.13.0, a2wsgi 1.10.10, Flask 3.1.3, granian 2.8.9, hypercorn 0.18.0, h2 4.4.1;
# https://asgi.readthedocs.io/en/latest/specs/www.html#http;
# https://www.rfc-editor.org/rfc/rfc9113#section-8.2.3
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check \
    'asgiref==3.13.0' 'a2wsgi==1.10.10' 'Flask==3.1.3' 'granian==2.8.9' 'hypercorn==0.18.0' \
    'h2==4.4.1'
python --version
pip freeze

cat >program.py <<'EOF'
import json
import socket
import subprocess
import sys
import time
from pathlib import Path

import h2.connection
import h2.events

Path("application.py").write_text("""
import a2wsgi
import flask
from asgiref.wsgi import WsgiToAsgi

application = flask.Flask(__name__)
application.add_url_rule("/", view_func=lambda: dict(flask.request.cookies))
by_asgiref = WsgiToAsgi(application)
by_a2wsgi = a2wsgi.WSGIMiddleware(application)
""")


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def connect(port):
    for _ in range(600):
        try:
            return socket.create_connection(("127.0.0.1", port), timeout=30)
        except ConnectionRefusedError:
            time.sleep(0.1)
    raise TimeoutError


def request(port):
    """Send a request with two cookies over HTTP/2, and return the response's JSON."""
    body = b""
    with connect(port) as connection:
        protocol = h2.connection.H2Connection()
        protocol.initiate_connection()
        pseudo = {":method": "GET", ":path": "/", ":scheme": "http", ":authority": "localhost"}
        cookies = [("cookie", "a=1"), ("cookie", "b=2")]
        protocol.send_headers(1, [*pseudo.items(), *cookies], end_stream=True)
        while True:
            connection.sendall(protocol.data_to_send())
            for event in protocol.receive_data(connection.recv(65_536)):
                if isinstance(event, h2.events.DataReceived):
                    body += event.data
                elif isinstance(event, h2.events.StreamEnded):
                    return json.loads(body)


seen = {}
for bridge in "by_asgiref", "by_a2wsgi":
    for server in "granian", "hypercorn":
        port = free_port()
        if server == "granian":
            options = "--interface", "asgi", "--http", "2", "--port", str(port)
        else:
            options = "--bind", f"127.0.0.1:{port}"
        command = server, *options, f"application:{bridge}"
        with open("log", "w") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
            try:
                seen[bridge, server] = request(port)
            finally:
                process.terminate()
        print(f"{bridge} under {server}: {seen[bridge, server]}")
if seen != {
    ("by_asgiref", "granian"): {"a": "1,b=2"},
    ("by_asgiref", "hypercorn"): {"a": "1", "b": "2"},
    ("by_a2wsgi", "granian"): {"a": "1,b=2"},
    ("by_a2wsgi", "hypercorn"): {"a": "1", "b": "2"},
}:
    sys.exit("The behaviour has changed.")
EOF
python program.py
