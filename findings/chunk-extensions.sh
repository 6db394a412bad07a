#!/usr/bin/env bash
# Expected: a server ignores extensions of chunks and trailers that it doesn't know. "A recipient
# MUST ignore unrecognized chunk extensions" (RFC 9112, 7.1.1).
# Seen: tornado's server responds to both with a 400. In Werkzeug's server, reading the body raises
# an OSError ("Invalid chunk header", "Missing chunk terminating newline"), so it is a 500.
# tornado's client raises an HTTPStreamClosedError for such a response. gunicorn, waitress and httpx
# handle both.
# It matters for uploads with signed chunks or a checksum at the end: whether they arrive depends on
# the server, and tests with Werkzeug's server fail although the application is right.
# tornado 6.6.1, Werkzeug 3.1.9, beside waitress 3.0.2, gunicorn 27.0.1, httpx 0.28.1;
# https://www.rfc-editor.org/rfc/rfc9112#section-7.1.1;
# https://github.com/tornadoweb/tornado/blob/master/tornado/http1connection.py, _read_chunked_body;
# https://github.com/pallets/werkzeug/blob/main/src/werkzeug/serving.py, DechunkedInput
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check \
    'tornado==6.6.1' 'werkzeug==3.1.9' 'waitress==3.0.2' 'gunicorn==27.0.1' 'httpx==0.28.1'
python --version
pip freeze

cat >pies.py <<'EOF'
def app(environ, start_response):
    body = environ["wsgi.input"].read()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]
EOF
cat >serve.py <<'EOF'
import asyncio
import sys

import tornado.web
import waitress
import werkzeug.serving

from pies import app


class Echo(tornado.web.RequestHandler):
    def post(self):
        self.write(self.request.body)


async def by_tornado(port):
    tornado.web.Application([("/", Echo)]).listen(port, "127.0.0.1")
    await asyncio.Event().wait()


name, port = sys.argv[1], int(sys.argv[2])
if name == "tornado":
    asyncio.run(by_tornado(port))
elif name == "werkzeug":
    werkzeug.serving.run_simple("127.0.0.1", port, app)
else:
    waitress.serve(app, host="127.0.0.1", port=port)
EOF
cat >client.py <<'EOF'
import asyncio
import socket
import sys
import threading

import httpx
from tornado.httpclient import AsyncHTTPClient

BODIES = {
    "plain": b"5\r\napple\r\n0\r\n\r\n",
    "extension": b"5;signature=7f\r\napple\r\n0\r\n\r\n",
    "trailer": b"5\r\napple\r\n0\r\nChecksum: 7f\r\n\r\n",
}


def post(port, body):
    head = b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n"
    with socket.create_connection(("127.0.0.1", port)) as client:
        client.sendall(head + b"Connection: close\r\n\r\n" + body)
        response = b"".join(iter(lambda: client.recv(65536), b""))
    status, text = response.split()[1], response.partition(b"\r\n\r\n")[2]
    return status.decode() + (" " + text.decode() if status == b"200" else "")


def respond(server, body):
    for _ in range(2):
        client, _ = server.accept()
        with client:
            client.recv(65536)
            client.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + body)
            client.recv(65536)


def get(body):
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=respond, args=(server, body), daemon=True).start()
        address = f"http://127.0.0.1:{server.getsockname()[1]}/"
        yield httpx.get(address).text

        async def fetch():
            return (await AsyncHTTPClient().fetch(address)).body.decode()

        try:
            yield asyncio.run(fetch())
        except Exception as error:
            yield type(error).__name__


if sys.argv[1] == "clients":
    results = [[kind, *get(body)] for kind, body in BODIES.items()]
    for kind, by_httpx, by_tornado in results:
        print(f"{kind}: httpx {by_httpx}, tornado {by_tornado}")
else:
    port = int(sys.argv[2])
    print(f"{sys.argv[1]}:", {kind: post(port, body) for kind, body in BODIES.items()})
EOF
for name in gunicorn waitress tornado werkzeug; do
    port=$(python -c 'import socket; print(socket.create_server(("", 0)).getsockname()[1])')
    if [ $name = gunicorn ]; then
        gunicorn --bind "127.0.0.1:$port" pies:app >$name.txt 2>&1 &
    else
        python serve.py $name "$port" >$name.txt 2>&1 &
    fi
    until (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do
        kill -0 $!
        sleep 0.1
    done
    python client.py $name "$port" | tee -a seen
done
python client.py clients | tee -a seen
grep -h '^OSError' werkzeug.txt
cat >expected <<'EOF'
gunicorn: {'plain': '200 apple', 'extension': '200 apple', 'trailer': '200 apple'}
waitress: {'plain': '200 apple', 'extension': '200 apple', 'trailer': '200 apple'}
tornado: {'plain': '200 apple', 'extension': '400', 'trailer': '400'}
werkzeug: {'plain': '200 apple', 'extension': '500', 'trailer': '500'}
plain: httpx apple, tornado apple
extension: httpx apple, tornado HTTPStreamClosedError
trailer: httpx apple, tornado HTTPStreamClosedError
EOF
cmp seen expected || { echo "The behaviour has changed."; exit 1; }
