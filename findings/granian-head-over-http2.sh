#!/usr/bin/env bash
# Expected: a server drops the body that an application sends in response to HEAD, over HTTP/2 as over
# HTTP/1.1 (RFC 9110, 9.3.2). ASGI applications rely on it and send the same as for GET.
# Seen: granian drops the body over HTTP/1.1, but sends it in DATA frames over HTTP/2. h2, the client
# here, raises a ProtocolError.
# It matters to link checkers and monitors, which send HEAD: whether they succeed depends on the
# version of HTTP.
# granian 2.8.9, h2 4.4.1; https://www.rfc-editor.org/rfc/rfc9110#section-9.3.2
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'granian==2.8.9' 'h2==4.4.1'
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
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"hello", "more_body": True})
    await send({"type": "http.response.body", "body": b" world"})
EOF
cat >client.py <<'EOF'
import socket
import sys

import h2.config
import h2.connection
import h2.events
import h2.exceptions

address = "127.0.0.1", int(sys.argv[1])


def over_http1():
    with socket.create_connection(address) as client:
        client.sendall(b"HEAD / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        response = b"".join(iter(lambda: client.recv(65536), b""))
    return response.partition(b"\r\n\r\n")[2]


def over_http2(method):
    connection = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
    connection.initiate_connection()
    head = [(":method", method), (":path", "/"), (":scheme", "http"), (":authority", "localhost")]
    connection.send_headers(1, head, end_stream=True)
    body = b""
    with socket.create_connection(address) as client:
        client.sendall(connection.data_to_send())
        while received := client.recv(65536):
            try:
                events = connection.receive_data(received)
            except h2.exceptions.ProtocolError as error:
                return f"{type(error).__name__}: {error}"
            for event in events:
                if isinstance(event, h2.events.DataReceived):
                    body += event.data
                if isinstance(event, h2.events.StreamEnded):
                    return body
    return "closed"


seen = over_http1(), over_http2("GET"), over_http2("HEAD")
print("HEAD over HTTP/1.1:", seen[0])
print("GET over HTTP/2:   ", seen[1])
print("HEAD over HTTP/2:  ", seen[2])
if seen[:2] != (b"", b"hello world") or not str(seen[2]).startswith("InvalidBodyLengthError"):
    sys.exit("The behaviour has changed.")
EOF
serve granian app:app --interface asginl --host 127.0.0.1 --port "$port"
python client.py "$port"
