#!/usr/bin/env bash
# Expected: a CapacityLimiter(1) lets one thread run at a time. A thread that was abandoned by a
# time-out (to_thread.run_sync(..., abandon_on_cancel=True)) still runs, so it still counts.
# Seen: on asyncio the limiter forgets a thread as soon as it is abandoned: after eight time-outs
# eight threads run at once. On trio there is one, and the other seven callers have waited for it.
# It matters when a limiter protects a service that may hang. Time-outs occur exactly then, and each
# of them lifts the limit.
# anyio 4.16.0, trio 0.35.0; https://anyio.readthedocs.io/en/stable/threads.html
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'anyio==4.16.0' 'trio==0.35.0'
python --version
pip freeze

cat >program.py <<'EOF'
import sys
import threading

import anyio
import anyio.to_thread


def threads_after_eight_timeouts(backend):
    end = threading.Event()
    running = []

    def hang():
        running.append(threading.get_ident())
        end.wait()

    async def main():
        limiter = anyio.CapacityLimiter(1)
        for _ in range(8):
            with anyio.move_on_after(0.5):
                await anyio.to_thread.run_sync(hang, abandon_on_cancel=True, limiter=limiter)
        count = len(running)
        print(f"{backend}: {count} running, {limiter.borrowed_tokens} of 1 tokens borrowed")
        end.set()
        return count, limiter.borrowed_tokens

    return anyio.run(main, backend=backend)


seen = threads_after_eight_timeouts("asyncio"), threads_after_eight_timeouts("trio")
if seen != ((8, 0), (1, 1)):
    sys.exit("The behaviour has changed.")
EOF
python program.py
