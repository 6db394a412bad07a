#!/usr/bin/env bash
# Expected: if nothing listens on Redis's port, a command raises ConnectionError as soon as the
# operating system refuses the connection.
# Seen: redis-py tries eleven times, with growing pauses, and raises after 3 to 5 seconds.
# It matters where Redis is optional (a cache, a rate limit that allows requests without it): each
# request now takes seconds instead of a millisecond, and threads run out.
# The program counts connection attempts with an audit hook. The second client has no retries.
# redis 8.1.0; https://redis.readthedocs.io/en/stable/retry.html
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'redis==8.1.0'
python --version
pip freeze

cat >program.py <<'EOF'
import socket
import sys
import time

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

attempts = 0


def count(event, arguments):
    global attempts
    attempts += event == "socket.connect"


def refused(**options):
    global attempts
    attempts, start = 0, time.monotonic()
    try:
        redis.Redis("127.0.0.1", port, **options).get("key")
    except redis.ConnectionError as error:
        print(f"{attempts} attempts, {time.monotonic() - start:.2f} s: {error}")
    return attempts


with socket.create_server(("127.0.0.1", 0)) as listener:
    port = listener.getsockname()[1]  # nobody listens there from now on
sys.addaudithook(count)
seen = refused(), refused(retry=Retry(NoBackoff(), 0))
if seen != (11, 1):
    sys.exit("The behaviour has changed.")
EOF
python program.py
