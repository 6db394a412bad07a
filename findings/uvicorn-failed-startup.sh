#!/usr/bin/env bash
# Expected: when the startup of all workers fails, `uvicorn --workers 2` ends as soon as they have
# ended, and in any case at SIGTERM.
# Seen: if a worker is pinged while its interpreter shuts down, nobody answers, and the supervisor
# waits the whole --timeout-worker-healthcheck, although the process has long ended. SIGTERM and
# Ctrl-C have no effect meanwhile.
# It matters because the timeout is what you raise for a slow application: with 60 s, a wrong
# setting keeps a deployment waiting for a minute, and Ctrl-C doesn't work.
# uvicorn 0.54.0; uvicorn/supervisors/multiprocess.py: the supervisor keeps its own copy of the
# worker's end of the pipe, so poll() never sees that the other side has closed
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'uvicorn==0.54.0'
python --version
pip freeze

port=$(python -c 'import socket; print(socket.create_server(("127.0.0.1", 0)).getsockname()[1])')

cat >app.py <<'EOF'
import os
import sys
import time

file = os.open("ended", os.O_WRONLY | os.O_CREAT | os.O_APPEND)


class Slow:
    """Takes three seconds when the interpreter ends, as the clients of some servers do."""

    def __del__(self, sleep=time.sleep, now=time.time, write=os.write, file=file):
        sleep(3)
        write(file, b"%f\n" % now())


sys.slow = Slow()  # one of the last things that the interpreter deletes


async def app(scope, receive, send):
    await receive()
    await send({"type": "lifespan.startup.failed", "message": "no database"})
EOF

uvicorn app:app --port "$port" --workers 2 --lifespan on --timeout-worker-healthcheck 12 >log 2>&1 &
server=$!
timeout 60 sh -c 'until [ -s ended ]; do sleep 0.1; done'
kill "$server" 2>/dev/null || true
status=0
wait "$server" || status=$?
cat log
python - "$status" <<'EOF'
import sys
import time

with open("ended") as file:
    seconds = time.time() - float(file.readline())
with open("log") as file:
    log = file.read()
print(f"uvicorn ended with {sys.argv[1]}, {seconds:.1f} s after its worker, and after SIGTERM")
if seconds < 4 or "no database" not in log or "failed to start" not in log:
    sys.exit("The behaviour has changed.")
EOF
