#!/usr/bin/env bash
# Expected: an upload in chunks (curl -T -, Go's http.Client with a reader, fetch with a stream)
# reaches a Flask application under tornado's WSGIContainer, or is refused.
# Seen: Flask gets no byte of it and responds with 200. All bytes are in wsgi.input, but tornado sets
# neither CONTENT_LENGTH nor wsgi.input_terminated, so werkzeug takes the body for empty.
# It matters because each of the two follows its specification, but together they store an empty file
# and report success.
# tornado 6.6.1, flask 3.1.3, werkzeug 3.1.9; https://peps.python.org/pep-3333/#environ-variables and
# https://werkzeug.palletsprojects.com/en/stable/wsgi/#werkzeug.wsgi.get_input_stream
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'tornado==6.6.1' 'flask==3.1.3' 'werkzeug==3.1.9'
python --version
pip freeze

cat >program.py <<'EOF'
import asyncio
import http.client
import sys

import flask
from tornado.httpserver import HTTPServer
from tornado.testing import bind_unused_port
from tornado.wsgi import WSGIContainer

app = flask.Flask("app")


@app.post("/")
def upload():
    stored = len(flask.request.get_data())
    unread = len(flask.request.environ["wsgi.input"].read())
    return f"stored {stored} bytes, {unread} left in wsgi.input"


def post(port, body):
    connection = http.client.HTTPConnection("127.0.0.1", port)
    chunked = not isinstance(body, bytes)
    connection.request("POST", "/", body, encode_chunked=chunked)
    response = connection.getresponse()
    text = f"{response.status} {response.read().decode()}"
    print("in chunks:          " if chunked else "with Content-Length:", text)
    return text


async def main():
    listener, port = bind_unused_port()
    server = HTTPServer(WSGIContainer(app))
    server.add_sockets([listener])
    seen = [
        await asyncio.to_thread(post, port, b"0123456789"),
        await asyncio.to_thread(post, port, iter([b"01234", b"56789"])),
    ]
    if seen != [
        "200 stored 10 bytes, 0 left in wsgi.input",
        "200 stored 0 bytes, 10 left in wsgi.input",
    ]:
        sys.exit("The behaviour has changed.")


asyncio.run(main())
EOF
python program.py
