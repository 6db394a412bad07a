#!/usr/bin/env bash
# Expected: for a request of HTTP/1.0, scope["http_version"] is "1.0" (the ASGI specification lists
# "1.0", "1.1" and "2"), SERVER_PROTOCOL is "HTTP/1.0", and a missing Host is missing.
# Seen: granian gives "1" and "HTTP/1", and adds an empty Host. uvicorn, hypercorn and gunicorn give
# "1.0" and add nothing.
# It matters behind nginx before 1.29.7, whose proxy_pass speaks HTTP/1.0 by default, and for health
# checks: a comparison with "1.0" is false, a parser of SERVER_PROTOCOL finds no minor version, and
# an application that uses its own name if there is no Host builds addresses without a host.
# granian 2.8.9, beside uvicorn 0.54.0, hypercorn 0.18.0, gunicorn 27.0.1;
# https://asgi.readthedocs.io/en/latest/specs/www.html#http-connection-scope
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check \
    'granian==2.8.9' 'uvicorn==0.54.0' 'hypercorn==0.18.0' 'gunicorn==27.0.1'
python --version
pip freeze

port=$(python -c 'import socket; print(socket.create_server(("127.0.0.1", 0)).getsockname()[1])')
serve() { # starts a server, and waits until it listens
    "$@" >log 2>&1 &
    until (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do
        kill -0 $!
        sleep 0.1
    done
}
stop() {
    kill $!
    wait $! || true
}

cat >pies.py <<'EOF'
def wsgi(environ, start_response):
    text = repr((environ["SERVER_PROTOCOL"], environ.get("HTTP_HOST"))).encode()
    start_response("200 OK", [("Content-Length", str(len(text)))])
    return [text]


async def asgi(scope, receive, send):
    if scope["type"] != "http":
        raise RuntimeError(scope["type"])  # no lifespan
    text = repr((scope["http_version"], dict(scope["headers"]).get(b"host"))).encode()
    headers = [(b"content-length", b"%d" % len(text))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": text})
EOF
cat >client.py <<'EOF'
import socket
import sys

with socket.create_connection(("127.0.0.1", int(sys.argv[1])), timeout=10) as client:
    client.sendall(b"GET / HTTP/1.0\r\n\r\n")
    response = b"".join(iter(lambda: client.recv(65536), b""))
print(response.decode().partition("\r\n\r\n")[2])
EOF
check() {
    serve "$@"
    echo "$1: $(python client.py "$port")" | tee -a seen
    stop
}
check uvicorn --port "$port" pies:asgi
check hypercorn --bind "127.0.0.1:$port" pies:asgi
check granian --interface asginl --host 127.0.0.1 --port "$port" pies:asgi
check gunicorn --bind "127.0.0.1:$port" pies:wsgi
check granian --interface wsgi --host 127.0.0.1 --port "$port" pies:wsgi
cat >expected <<'EOF'
uvicorn: ('1.0', None)
hypercorn: ('1.0', None)
granian: ('1', b'')
gunicorn: ('HTTP/1.0', None)
granian: ('HTTP/1', '')
EOF
cmp seen expected || { echo "The behaviour has changed."; exit 1; }
