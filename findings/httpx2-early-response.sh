#!/usr/bin/env bash
# Expected: a client returns a response that is complete before the request's body is. Over HTTP/2 a
# server sends RST_STREAM with NO_ERROR after it, and "clients MUST NOT discard responses as a result"
# (RFC 9113, 8.1).
# Seen: httpx2 returns the 413 of an upload that is alone on its connection. Beside another request it
# raises LocalProtocolError with the number of the stream as its text, because the other request has
# read the response meanwhile.
# It matters to whoever uploads in parallel: the reason for a refusal is lost, and the exception blames
# the client. Servers that respond when Content-Length bytes have come cause it with small forms, too.
# httpx2 2.16.2, h2 4.4.1; https://www.rfc-editor.org/rfc/rfc9113#section-8.1
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'httpx2==2.16.2' 'h2==4.4.1'
python --version
pip freeze

cat >program.py <<'EOF'
import asyncio
import sys

import h2.config
import h2.connection
import h2.events
import httpx2


async def serve(reader, writer):
    """Refuse uploads, and respond to GET after the next refusal."""
    server = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
    server.initiate_connection()
    waiting = []
    while True:
        writer.write(server.data_to_send())
        received = await reader.read(65536)
        if not received:
            writer.close()
            return
        for event in server.receive_data(received):
            if not isinstance(event, h2.events.RequestReceived):
                continue
            stream = event.stream_id
            if (b":method", b"GET") in event.headers:
                waiting.append(stream)
                continue
            server.send_headers(stream, [(":status", "413")])
            server.send_data(stream, b"too large", end_stream=True)
            server.reset_stream(stream, 0)
            for other in waiting:
                server.send_headers(other, [(":status", "200")])
                server.send_data(other, b"page", end_stream=True)
            waiting.clear()


async def body(goes_on):
    yield b"x" * 1000
    await goes_on.wait()
    yield b"x" * 1000


async def upload(client, goes_on):
    try:
        response = await client.post("/", content=body(goes_on), headers={"Content-Length": "2000"})
    except httpx2.TransportError as error:
        return f"{type(error).__name__}: {error}"
    return f"{response.status_code} {response.text}"


async def alone(client):
    goes_on = asyncio.Event()
    goes_on.set()
    return await upload(client, goes_on)


async def beside_another(client):
    goes_on = asyncio.Event()

    async def page():
        response = await client.get("/")
        goes_on.set()
        return response.text

    return await asyncio.gather(page(), upload(client, goes_on))


async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    options = {"base_url": f"http://127.0.0.1:{port}", "trust_env": False}
    async with httpx2.AsyncClient(http1=False, http2=True, **options) as client:
        one = await alone(client)
    async with httpx2.AsyncClient(http1=False, http2=True, **options) as client:
        two = await beside_another(client)
    return one, two


one, two = asyncio.run(main())
print("alone:          ", one)
print("beside another: ", two)
if one != "413 too large" or two[0] != "page" or not two[1].startswith("LocalProtocolError"):
    sys.exit("The behaviour has changed.")
EOF
python program.py
