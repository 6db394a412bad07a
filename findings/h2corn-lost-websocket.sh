#!/usr/bin/env bash
# Expected: if the client of a WebSocket is gone, an ASGI application receives websocket.disconnect,
# and then has time to finish, for example to tell the others in a chat room.
# Seen: h2corn does so if the WebSocket came over HTTP/1.1. Over HTTP/2 (RFC 8441) it cancels the
# application's task right after the message.
# It matters because browsers choose the version: what follows the loop is done for some visitors only.
# h2corn 2.0.0, h2 4.4.1; https://asgi.readthedocs.io/en/latest/specs/www.html#disconnect-receive-event-ws
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'h2corn==2.0.0' 'h2==4.4.1'
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

cat >app.py <<'EOF'
import asyncio

ends = asyncio.Queue()


async def app(scope, receive, send):
    if scope["type"] == "http":
        end = await ends.get()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": end.encode()})
    elif scope["type"] == "websocket":
        end = (await receive())["type"]
        await send({"type": "websocket.accept"})
        try:
            end = (await receive())["type"]
            await asyncio.sleep(0.1)  # a farewell to others
            ends.put_nowait(f"{end}, finished")
        except asyncio.CancelledError:
            ends.put_nowait(f"{end}, cancelled")
            raise
    else:
        raise RuntimeError("no lifespan")
EOF
cat >client.py <<'EOF'
import socket
import sys
import urllib.request

import h2.config
import h2.connection
import h2.events

address = "127.0.0.1", int(sys.argv[1])


def over_http1():
    with socket.create_connection(address) as client:
        client.sendall(
            b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        return b" 101 " in client.recv(65536)


def over_http2():
    connection = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
    connection.initiate_connection()
    head = [
        (":method", "CONNECT"),
        (":protocol", "websocket"),
        (":scheme", "http"),
        (":authority", "localhost"),
        (":path", "/"),
        ("sec-websocket-version", "13"),
    ]
    with socket.create_connection(address) as client:
        client.sendall(connection.data_to_send())
        while received := client.recv(65536):
            for event in connection.receive_data(received):
                if isinstance(event, h2.events.RemoteSettingsChanged):
                    connection.send_headers(1, head)
                elif isinstance(event, h2.events.ResponseReceived):
                    return (b":status", b"200") in event.headers
            client.sendall(connection.data_to_send())


def end():
    return urllib.request.urlopen(f"http://127.0.0.1:{address[1]}/").read().decode()


lost = "websocket.disconnect"
seen = over_http1(), end(), over_http2(), end()
print("over HTTP/1.1:", seen[1])
print("over HTTP/2:  ", seen[3])
if seen != (True, f"{lost}, finished", True, f"{lost}, cancelled"):
    sys.exit("The behaviour has changed.")
EOF
serve h2corn --bind "127.0.0.1:$port" app:app
python client.py "$port"
