#!/usr/bin/env bash
# Expected: whether a server starts although its UNIX socket's file was left behind (by SIGKILL or a
# power cut) doesn't depend on the number of workers.
# Seen: `uvicorn --uds` with one worker takes the old file's place and serves. With --workers 2 it ends
# with "Address already in use", although nobody listens.
# It matters because it shows only after a crash: a site that always restarted stays down. (The failed
# start removes the file, so a second one succeeds.)
# uvicorn 0.54.0: one worker uses asyncio's create_unix_server, which removes such a file, several use
# Config.bind_socket; https://docs.python.org/3/library/asyncio-eventloop.html#creating-network-servers
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'uvicorn==0.54.0'
python --version
pip freeze

cat >app.py <<'EOF'
async def app(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"hello"})
EOF

for workers in 1 2; do
    python -c 'import socket; socket.socket(socket.AF_UNIX).bind("server.sock")' # closed, and left
    uvicorn app:app --uds server.sock --lifespan off --workers "$workers" >log 2>&1 &
    until curl --silent --unix-socket server.sock http://localhost/ >body; do
        kill -0 $! 2>/dev/null || break
        sleep 0.1
    done
    kill $! 2>/dev/null || true
    status=0
    wait $! || status=$?
    if [ -s body ]; then result="served"; else result="exit status $status: $(grep -o 'Address already in use' log)"; fi
    echo "--workers $workers: $result" | tee -a seen
    rm -f server.sock
done
cat >expected <<'EOF'
--workers 1: served
--workers 2: exit status 3: Address already in use
EOF
cmp seen expected || { echo "The behaviour has changed."; exit 1; }
