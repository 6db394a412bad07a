#!/usr/bin/env bash
# Expected: if a client disconnects in the middle of a chunked upload, reading wsgi.input raises an
# exception, because the last chunk, which marks the end, never arrived.
# Seen: under granian's WSGI interface read() returns what has arrived, then b"", the sign of a
# complete body. gunicorn raises.
# It matters because there is no Content-Length to compare with: an application that stores uploads
# takes half a file for a whole one whenever a client loses its network.
# granian 2.8.9, gunicorn 27.0.1; https://www.rfc-editor.org/rfc/rfc9112#section-8 (such a message is
# incomplete)
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'granian==2.8.9' 'gunicorn==27.0.1'
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

cat >app.py <<'EOF'
def app(environ, start_response):
    try:
        body = b"".join(iter(lambda: environ["wsgi.input"].read(65536), b""))
        print("APPLICATION read", body, "to the end", flush=True)
    except Exception as error:
        print("APPLICATION got", type(error).__name__, flush=True)
    start_response("200 OK", [("Content-Length", "0")])
    return [b""]
EOF
cat >client.py <<'EOF'
import socket
import sys

with socket.create_connection(("127.0.0.1", int(sys.argv[1]))) as client:
    client.sendall(b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n")
    client.sendall(b"5\r\nhello\r\n")  # one chunk of many, and then the network is gone
EOF

for command in "gunicorn app:app --no-control-socket --worker-class gthread --bind 127.0.0.1:$port" \
    "granian app:app --interface wsgi --blocking-threads 1 --port $port"; do
    serve $command
    python client.py "$port"
    timeout 30 sh -c 'until grep -q APPLICATION log; do sleep 0.1; done'
    stop
    echo "$command:"
    grep APPLICATION log | tee -a seen
done
cat >expected <<'EOF'
APPLICATION got NoMoreData
APPLICATION read b'hello' to the end
EOF
cmp seen expected || { echo "The behaviour has changed."; exit 1; }
