#!/usr/bin/env bash
# Expected: headers in websocket.accept are sent in the 101 response, as the ASGI specification says.
# Seen: uvicorn and hypercorn send them; granian and daphne send the 101 without them, silently.
# It matters if you set a cookie when a WebSocket opens: under these two servers the browser never
# gets it, so each connection begins a new session.
# granian 2.8.9, daphne 4.2.3; https://asgi.readthedocs.io/en/latest/specs/www.html#accept-send-event
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check \
    'uvicorn==0.54.0' 'hypercorn==0.18.0' 'granian==2.8.9' 'daphne==4.2.3' 'websockets==17.4'
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
async def app(scope, receive, send):
    if scope["type"] != "websocket":
        raise RuntimeError(scope["type"])  # no lifespan
    await receive()
    await send({"type": "websocket.accept", "headers": [(b"set-cookie", b"session=1")]})
    await receive()
EOF
cat >client.py <<'EOF'
import sys

from websockets.sync.client import connect

with connect(f"ws://127.0.0.1:{sys.argv[1]}/") as connection:
    print(connection.response.headers.get("Set-Cookie"))
EOF

for command in "uvicorn app:app --port $port" \
    "hypercorn app:app --bind 127.0.0.1:$port" \
    "granian app:app --interface asgi --port $port" \
    "daphne app:app --port $port"; do
    serve $command
    python client.py "$port" >>seen
    stop
    echo "$command: Set-Cookie is $(tail -n 1 seen)"
done
[ "$(xargs <seen)" = "session=1 session=1 None None" ] || { echo "The behaviour has changed."; exit 1; }
