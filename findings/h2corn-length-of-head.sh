#!/usr/bin/env bash
# Expected: in a response to HEAD a server declares the length that GET would have, or none (RFC 9110,
# 8.6). An application doesn't know the length of a stream and has no reason to produce it for HEAD.
# Seen: h2corn counts what the application sends for HEAD, and declares Content-Length: 0. uvicorn
# declares no length.
# It matters because a cache that has the page takes it for changed and drops it (RFC 9111, 4.3.5), and
# link checkers report an empty page.
# h2corn 2.0.0, uvicorn 0.54.0; https://www.rfc-editor.org/rfc/rfc9110#section-8.6
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'h2corn==2.0.0' 'uvicorn==0.54.0'
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
        raise RuntimeError("no lifespan")
    await send({"type": "http.response.start", "status": 200, "headers": []})
    if scope["method"] == "GET":
        await send({"type": "http.response.body", "body": b"hello", "more_body": True})
        await send({"type": "http.response.body", "body": b" world", "more_body": True})
    await send({"type": "http.response.body", "body": b""})
EOF
length() { # prints the Content-Length of a response to HEAD
    curl --silent --head "http://127.0.0.1:$port/" | tr -d '\r' | sed -n 's/^content-length: //Ip'
}
serve uvicorn app:app --port "$port"
uvicorn=$(length)
stop
serve h2corn --bind "127.0.0.1:$port" app:app
h2corn=$(length)
echo "GET:                      $(curl --silent "http://127.0.0.1:$port/")"
stop
echo "uvicorn's length of HEAD: ${uvicorn:-none}"
echo "h2corn's length of HEAD:  ${h2corn:-none}"
if [ -n "$uvicorn" ] || [ "$h2corn" != 0 ]; then
    echo "The behaviour has changed."
    exit 1
fi
