#!/usr/bin/env bash
# Expected: at SIGTERM hypercorn lets open requests end, up to --graceful-timeout (3 s), whatever the
# number of workers.
# Seen: that is so with one worker. With --workers 2 an open request is cut off at once, and the
# client gets an empty response. --graceful-timeout 10 changes nothing.
# It matters at each deployment: users see errors as soon as you add a worker.
# hypercorn 0.18.0; https://github.com/pgjones/hypercorn/blob/0.18.0/src/hypercorn/run.py: the main
# process ends its workers as soon as it gets the signal
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'hypercorn==0.18.0'
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
import asyncio


async def app(scope, receive, send):
    if scope["type"] != "http":
        raise RuntimeError(scope["type"])  # no lifespan
    print("APPLICATION has begun", flush=True)
    await asyncio.sleep(1)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"hello"})
EOF

for workers in 1 2; do
    serve hypercorn app:app --bind "127.0.0.1:$port" --workers "$workers" --graceful-timeout 10
    server=$!
    curl --silent --output body --write-out '%{http_code}' "http://127.0.0.1:$port/" >status &
    client=$!
    timeout 30 sh -c 'until grep -q APPLICATION log; do sleep 0.1; done'
    kill "$server"
    ended=0
    wait "$client" || ended=$?
    wait "$server" || true
    echo "$workers: status $(cat status), curl ended with $ended" | tee -a seen
done
cat >expected <<'EOF'
1: status 200, curl ended with 0
2: status 000, curl ended with 52
EOF
cmp seen expected || { echo "The behaviour has changed."; exit 1; }
