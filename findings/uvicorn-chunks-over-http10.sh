#!/usr/bin/env bash
# Expected: a response without Content-Length ends with the connection for a client of HTTP/1.0, which
# has no chunks (RFC 9112, 6.1: a server must not send Transfer-Encoding to it).
# Seen: uvicorn with httptools sends `transfer-encoding: chunked`, so the client takes the lengths of
# chunks for text. The same uvicorn with h11 sends only the text.
# It matters behind nginx before 1.29.7, whose proxy_pass speaks HTTP/1.0 by default.
# uvicorn[standard] includes httptools.
# uvicorn 0.54.0, uvicorn/protocols/http/httptools_impl.py (it asks only for HEAD, 204 and 304);
# https://www.rfc-editor.org/rfc/rfc9112#section-6.1
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'uvicorn==0.54.0' 'httptools==0.9.0'
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
    if scope["type"] != "http":
        raise RuntimeError(scope["type"])  # no lifespan
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"hello", "more_body": True})
    await send({"type": "http.response.body", "body": b" world"})
EOF
cat >client.py <<'EOF'
import socket
import sys

with socket.create_connection(("127.0.0.1", int(sys.argv[1]))) as client:
    client.sendall(b"GET / HTTP/1.0\r\n\r\n")
    response = b"".join(iter(lambda: client.recv(65536), b""))
print(response.partition(b"\r\n\r\n")[2])
EOF

for parser in h11 httptools; do
    serve uvicorn app:app --port "$port" --http "$parser"
    python client.py "$port" >>seen
    stop
    echo "$parser: $(tail -n 1 seen)"
done
cat >expected <<'EOF'
b'hello world'
b'5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n'
EOF
cmp seen expected || { echo "The behaviour has changed."; exit 1; }
