#!/usr/bin/env bash
# Expected: the client of a WebSocket speaks the subprotocol that the server has accepted. Names of
# headers are case-insensitive, so it doesn't matter how a server writes Sec-WebSocket-Protocol.
# Seen: gql offers the old graphql-ws and graphql-transport-ws. If the server accepts the second, but
# writes `sec-websocket-protocol`, gql speaks the first: it sends "start" instead of "subscribe".
# It matters because a program that works with uvicorn fails with hypercorn and granian, and behind a
# proxy that sends names in lower case, as HAProxy and Envoy do. Such a server closes with 4400, and
# gql's message is only "ConnectionClosedError". With one protocol in `subprotocols` it works.
# gql 4.4.0; https://github.com/graphql-python/gql/blob/master/gql/transport/websockets_protocol.py
# (self.response_headers["Sec-WebSocket-Protocol"], a plain dict); RFC 9110, section 5.1
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check \
    'gql[websockets]==4.4.0' 'websockets==17.4' 'uvicorn==0.54.0' 'hypercorn==0.18.0'
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

cat >app.py <<'EOP'
import json


async def app(scope, receive, send):
    if scope["type"] != "websocket":
        raise RuntimeError(scope["type"])  # no lifespan
    await receive()
    await send({"type": "websocket.accept", "subprotocol": "graphql-transport-ws"})
    while (message := await receive())["type"] == "websocket.receive":
        sent = json.loads(message["text"])
        if sent["type"] == "connection_init":
            await send({"type": "websocket.send", "text": '{"type": "connection_ack"}'})
        elif sent["type"] != "pong":  # the specification demands this for an unknown type
            code, reason = (4000 if sent["type"] == "subscribe" else 4400), f"got {sent['type']}"
            await send({"type": "websocket.close", "code": code, "reason": reason})
EOP
cat >client.py <<'EOP'
import asyncio
import sys

from gql import Client, gql
from gql.transport.websockets import WebsocketsTransport


async def subscribe(**options):
    transport = WebsocketsTransport(url=f"ws://127.0.0.1:{sys.argv[1]}/", **options)
    try:
        async with Client(transport=transport) as session:
            names = [name for name in transport.response_headers if "protocol" in name.lower()]
            async for _ in session.subscribe(gql("subscription { counter }")):
                pass
    except Exception as error:
        print(names[0], error, error.__cause__, sep=" | ")


asyncio.run(subscribe())
asyncio.run(subscribe(subprotocols=["graphql-transport-ws"]))
EOP

for command in "uvicorn app:app --port $port" "hypercorn app:app --bind 127.0.0.1:$port"; do
    serve $command
    echo "$command"
    python client.py "$port" | tee -a seen
    stop
done
[ "$(grep -o 'got [a-z]*; then' seen | xargs)" = \
    "got subscribe; then got subscribe; then got start; then got subscribe; then" ] ||
    { echo "The behaviour has changed."; exit 1; }
