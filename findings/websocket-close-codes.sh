#!/usr/bin/env bash
# Expected: the code of websocket.disconnect is the client's after a close, and 1006 if the connection
# was lost (RFC 6455, 7.1.5).
# Seen: hypercorn reports 1006 in any case, even after a close with 4001. uvicorn reports a lost
# connection as 1005, the code for a close frame without a code.
# It matters if an application distinguishes the two, for example to keep a player's seat for a
# minute after a lost connection: both servers make it fail, in opposite ways.
# hypercorn 0.18.0, src/hypercorn/protocol/ws_stream.py; uvicorn 0.54.0,
# uvicorn/protocols/websockets/websockets_sansio_impl.py, connection_lost;
# https://www.rfc-editor.org/rfc/rfc6455#section-7.1.5
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'hypercorn==0.18.0' 'uvicorn==0.54.0' 'websockets==17.4'
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
    await send({"type": "websocket.accept"})
    message = await receive()
    print("APPLICATION", scope["path"], message["type"], message["code"], flush=True)
EOF
cat >client.py <<'EOF'
import socket
import sys

from websockets.sync.client import connect

url = f"ws://127.0.0.1:{sys.argv[1]}"
with connect(url + "/closed-with-4001") as connection:
    connection.close(4001)
with connect(url + "/lost") as connection:
    connection.socket.shutdown(socket.SHUT_RDWR)
EOF

seen=""
for command in "hypercorn app:app --bind 127.0.0.1:$port" "uvicorn app:app --port $port"; do
    serve $command
    python client.py "$port"
    timeout 30 sh -c 'until [ "$(grep -c APPLICATION log)" = 2 ]; do sleep 0.1; done'
    stop
    echo "$command"
    grep APPLICATION log
    seen="$seen $(grep APPLICATION log | sort | cut -d " " -f 4 | xargs)"
done
[ "$seen" = " 1006 1006 4001 1005" ] || { echo "The behaviour has changed."; exit 1; }
