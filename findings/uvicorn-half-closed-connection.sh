#!/usr/bin/env bash
# Expected: a client may end its side of the connection after the request (shutdown(SHUT_WR)), and
# still gets the response. TCP allows this, and `printf ... | nc -N` does it.
# Seen: if the response isn't sent yet, uvicorn reports http.disconnect and closes the connection. The
# client gets nothing. hypercorn responds.
# It matters because a health check with nc works while the handler responds at once, and fails when
# the handler begins to wait for something.
# uvicorn 0.54.0 with either parser: eof_received in uvicorn/protocols/http/h11_impl.py returns None;
# https://docs.python.org/3/library/asyncio-protocol.html#asyncio.Protocol.eof_received
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'hypercorn==0.18.0' 'uvicorn==0.54.0' 'httptools==0.9.0'
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
import asyncio


async def app(scope, receive, send):
    if scope["type"] != "http":
        raise RuntimeError(scope["type"])  # no lifespan
    await receive()
    await asyncio.sleep(0.5)  # a query
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"hello"})
EOF
cat >client.py <<'EOF'
import socket
import sys

for half_closed in False, True:
    with socket.create_connection(("127.0.0.1", int(sys.argv[1]))) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        if half_closed:
            client.shutdown(socket.SHUT_WR)
        response = b"".join(iter(lambda: client.recv(65536), b""))
    print("half closed:" if half_closed else "open:", response[:12] or "no response")
EOF

for command in "hypercorn app:app --bind 127.0.0.1:$port" \
    "uvicorn app:app --port $port --http h11" \
    "uvicorn app:app --port $port --http httptools"; do
    serve $command
    python client.py "$port" >>seen
    stop
    echo "$command"
    tail -n 2 seen
done
cat >expected <<'EOF'
open: b'HTTP/1.1 200'
half closed: b'HTTP/1.1 200'
open: b'HTTP/1.1 200'
half closed: no response
open: b'HTTP/1.1 200'
half closed: no response
EOF
cmp seen expected || { echo "The behaviour has changed."; exit 1; }
