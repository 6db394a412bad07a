#!/usr/bin/env bash
# Expected: a WSGI application may return an empty iterable, as Werkzeug does for each response
# without a body, so a Flask application behind hypercorn responds to HEAD and with 204 and 304.
# Seen: hypercorn sends the head of a response with the first item of the iterable. If there is
# none, it tries to send the end of a body without a head, logs UnexpectedMessageError, and the
# client gets a 500: to every HEAD and OPTIONS, and instead of 204 and 304. granian is right.
# It matters for health checks by HEAD, for browsers with a cached file, and for deletions, which
# have happened although the client is told that they have failed. GET and POST look right in tests.
# hypercorn 0.18.0, Flask 3.1.3 with Werkzeug 3.1.9, granian 2.8.9;
# https://peps.python.org/pep-3333/#handling-the-content-length-header
# https://github.com/pgjones/hypercorn/blob/main/src/hypercorn/app_wrappers.py
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check \
    'hypercorn==0.18.0' 'flask==3.1.3' 'werkzeug==3.1.9' 'granian==2.8.9'
python --version
pip freeze

cat >pies.py <<'EOF'
from flask import Flask

app = Flask(__name__)


@app.get("/")
def index():
    return "pies"


@app.delete("/")
def delete():
    return "", 204
EOF
port() { python -c 'import socket; print(socket.create_server(("127.0.0.1", 0)).getsockname()[1])'; }
hypercorn_port=$(port)
granian_port=$(port)
hypercorn --bind "127.0.0.1:$hypercorn_port" wsgi:pies:app 2>log.txt &
granian --interface wsgi --port "$granian_port" pies:app >granian.txt 2>&1 &
for port in "$hypercorn_port" "$granian_port"; do
    until curl --silent "http://127.0.0.1:$port/" >/dev/null; do sleep 0.2; done
done
status() { curl --silent --output /dev/null --write-out '%{http_code}' "$@" || true; }
statuses() { echo "GET $(status "$1") HEAD $(status --head "$1") DELETE $(status -X DELETE "$1")"; }
seen="hypercorn: $(statuses "http://127.0.0.1:$hypercorn_port/")"
beside="granian: $(statuses "http://127.0.0.1:$granian_port/")"
echo "$seen"
echo "$beside"
grep UnexpectedMessageError log.txt | tail -1
[ "$seen" = "hypercorn: GET 200 HEAD 500 DELETE 500" ] &&
    [ "$beside" = "granian: GET 200 HEAD 200 DELETE 204" ] ||
    { echo "The behaviour has changed."; exit 1; }
