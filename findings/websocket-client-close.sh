#!/usr/bin/env bash
# Expected: when the server closes the connection, recv() of websocket-client raises
# WebSocketConnectionClosedException, as its documentation of that exception says.
# Seen: recv() returns an empty string, which is also a valid message. Only the next call raises.
# The code and the reason of the close are lost. So a loop over the connection yields an empty
# message at the end, and then raises even after a clean close with 1000.
# It matters for consumers that parse each message, for example as JSON: a clean end of the stream
# looks like a broken message. The same loop with the library websockets ends without either.
# websocket-client 1.9.2, beside websockets 17.4;
# https://github.com/websocket-client/websocket-client/blob/master/websocket/_core.py,
# WebSocket.recv
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'websocket-client==1.9.2' 'websockets==17.4'
python --version
pip freeze

cat >program.py <<'EOF'
import sys
import threading

import websocket
import websockets.sync.client
import websockets.sync.server


def handle(connection):
    connection.send("pie")
    connection.send("")
    connection.close(1000, "sold out")


def by_websocket_client(address):
    connection = websocket.create_connection(address)
    for message in connection:
        yield message


def by_websockets(address):
    with websockets.sync.client.connect(address) as connection:
        for message in connection:
            yield message


seen = {}
with websockets.sync.server.serve(handle, "127.0.0.1", 0) as server:
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = "ws://127.0.0.1:%d/" % server.socket.getsockname()[1]
    for read in by_websocket_client, by_websockets:
        seen[read.__name__] = messages = []
        try:
            for message in read(address):
                messages.append(message)
        except Exception as error:
            messages.append(type(error).__name__)
        print(read.__name__, messages)
    server.shutdown()
if seen != {
    "by_websocket_client": ["pie", "", "", "WebSocketConnectionClosedException"],
    "by_websockets": ["pie", ""],
}:
    sys.exit("The behaviour has changed.")
EOF
python program.py
