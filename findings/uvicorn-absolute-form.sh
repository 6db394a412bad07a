#!/usr/bin/env bash
# Expected: `GET http://example.com/page HTTP/1.1`, the absolute form that each server must accept
# (RFC 9112, 3.2.2), reaches an application with the path "/page".
# Seen: in uvicorn that depends on the parser. With httptools scope["path"] is "/page", with h11 it is
# "http://example.com/page". The scope doesn't reveal the parser.
# It matters because the default parser depends on whether httptools is installed: the same site
# handles the request, or responds with 404.
# uvicorn 0.54.0; https://www.rfc-editor.org/rfc/rfc9112#section-3.2.2
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
    body = scope["path"].encode()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body})
EOF

for parser in h11 httptools; do
    serve uvicorn app:app --port "$port" --lifespan off --http "$parser"
    path=$(curl --silent --request-target http://example.com/page "http://127.0.0.1:$port/")
    stop
    echo "$parser: $path" | tee -a seen
done
cat >expected <<'EOF'
h11: http://example.com/page
httptools: /page
EOF
cmp seen expected || { echo "The behaviour has changed."; exit 1; }
