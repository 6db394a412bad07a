#!/usr/bin/env bash
# Expected: a loop over the messages of a WebSocket raises an exception if the connection is lost,
# and ends if the server has closed it, with or without a code (RFC 6455, 7.1.5: 1005 if the close
# frame has none, 1006 if there was no close frame).
# Seen: in aiohttp and tornado the loop ends in both cases. Only the close code could tell them
# apart, but a close frame without a code has the code of a lost connection: 1006 in aiohttp, None
# in tornado. websockets and httpx-ws raise an exception for the lost one, and give 1005 for the
# other.
# It matters for feeds and exports over WebSockets: half of the messages look complete, and a client
# that reconnects after 1006 does so after each proper goodbye as well.
# aiohttp 3.14.5, tornado 6.6.1, beside websockets 17.4, httpx-ws 0.9.0;
# https://www.rfc-editor.org/rfc/rfc6455#section-7.1.5
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check \
    'aiohttp==3.14.5' 'tornado==6.6.1' 'websockets==17.4' 'httpx-ws==0.9.0' 'httpx==0.28.1' \
    'wsproto==1.3.2'
python --version
pip freeze

cat >program.py <<'EOF'
import asyncio
import socket
import sys
import threading

import aiohttp
import httpx_ws
import websockets
import wsproto
from tornado.websocket import websocket_connect
from wsproto.events import AcceptConnection, CloseConnection, Request, TextMessage


def serve(listener):
    while True:
        client, _ = listener.accept()
        with client:
            connection = wsproto.WSConnection(wsproto.ConnectionType.SERVER)
            while not (events := list(connection.events())):
                connection.receive_data(client.recv(65536))
            (request,) = events
            assert isinstance(request, Request)
            client.sendall(connection.send(AcceptConnection()))
            client.sendall(connection.send(TextMessage("apple")))
            if request.target == "/closed":
                client.sendall(connection.send(CloseConnection(1000)))
            if request.target == "/closed-without-a-code":
                client.sendall(bytes([0x88, 0]))
            if request.target != "/lost":
                client.recv(65536)  # the close frame of the client


async def by_websockets(address):
    messages = []
    async with websockets.connect(address) as connection:
        try:
            async for message in connection:
                messages.append(message)
        except websockets.ConnectionClosedError as error:
            return messages, type(error).__name__
    return messages, connection.close_code


def by_httpx_ws(address):
    messages = []
    with httpx_ws.connect_ws(address) as connection:
        try:
            while True:
                messages.append(connection.receive_text())
        except httpx_ws.WebSocketDisconnect as error:
            return messages, error.code
        except httpx_ws.WebSocketNetworkError as error:
            return messages, type(error).__name__


async def by_aiohttp(address):
    async with aiohttp.ClientSession() as session:
        async with session.ws_connect(address) as connection:
            messages = [message.data async for message in connection]
            return messages, connection.close_code


async def by_tornado(address):
    connection, messages = await websocket_connect(address), []
    while (message := await connection.read_message()) is not None:
        messages.append(message)
    return messages, connection.close_code


listener = socket.create_server(("127.0.0.1", 0))
threading.Thread(target=serve, args=(listener,), daemon=True).start()
seen = {}
for path in "closed", "closed-without-a-code", "lost":
    address = f"ws://127.0.0.1:{listener.getsockname()[1]}/{path}"
    results = {
        "websockets": asyncio.run(by_websockets(address)),
        "httpx-ws": by_httpx_ws(address),
        "aiohttp": asyncio.run(by_aiohttp(address)),
        "tornado": asyncio.run(by_tornado(address)),
    }
    for name, (messages, end) in results.items():
        print(f"{path}: {name}: {messages}, then", end if isinstance(end, str) else f"code {end}")
        assert messages == ["apple"]
    seen[path] = [end for _, end in results.values()]
if seen != {
    "closed": [1000, 1000, 1000, 1000],
    "closed-without-a-code": [1005, 1005, 1006, None],
    "lost": ["ConnectionClosedError", "WebSocketNetworkError", 1006, None],
}:
    sys.exit("The behaviour has changed.")
EOF
python program.py
