#!/usr/bin/env bash
# Expected: a server whose application reports lifespan.startup.failed exits with an error, as uvicorn
# does.
# Seen: hypercorn prints the traceback and exits with 0, with one worker as with two.
# It matters because Restart=on-failure of systemd, restart: on-failure of containers, and `&&` in a
# shell take the failed start for a success, so the server stays down.
# hypercorn 0.18.0; https://github.com/pgjones/hypercorn/blob/0.18.0/src/hypercorn/run.py sets the
# status from its processes only, and the process of a worker ends normally.
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'hypercorn==0.18.0' 'uvicorn==0.54.0'
python --version
pip freeze

cat >app.py <<'EOF'
async def app(scope, receive, send):
    await receive()
    await send({"type": "lifespan.startup.failed", "message": "no database"})
EOF

seen=""
for command in "uvicorn app:app --port 0" \
    "hypercorn app:app --bind 127.0.0.1:0" \
    "hypercorn app:app --bind 127.0.0.1:0 --workers 2"; do
    status=0
    timeout 60 $command >log 2>&1 || status=$?
    grep --max-count=1 "no database" log
    echo "$command: exit status $status"
    seen="$seen $status"
done
[ "$seen" = " 3 0 0" ] || { echo "The behaviour has changed."; exit 1; }
