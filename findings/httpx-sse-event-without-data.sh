#!/usr/bin/env bash
# Expected: a client of server-sent events reads what a browser's EventSource reads.
# Seen: for the lines `event: finished` and an empty one httpx-sse yields an event. A browser
# dispatches none, because the event has no data line. An `id:` or a `retry:` alone is an event, too.
# It matters because a test with httpx-sse passes, while the page waits for "finished" in vain.
# httpx-sse 0.4.3; https://html.spec.whatwg.org/multipage/server-sent-events.html#dispatchMessage
# (its second step ends if there is no data)
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'httpx==0.28.1' 'httpx-sse==0.4.3'
python --version
pip freeze

cat >program.py <<'EOF'
import sys

import httpx
import httpx_sse

STREAM = b"""\
data: one

event: finished

id: 7

"""


def respond(request):
    return httpx.Response(200, headers={"Content-Type": "text/event-stream"}, content=STREAM)


with (
    httpx.Client(transport=httpx.MockTransport(respond)) as client,
    httpx_sse.connect_sse(client, "GET", "http://localhost/") as source,
):
    seen = [(event.event, event.data, event.id) for event in source.iter_sse()]
print(STREAM.decode())
print("a browser:", [("message", "one", "")])
print("httpx-sse:", seen)
if seen != [("message", "one", ""), ("finished", "", ""), ("message", "", "7")]:
    sys.exit("The behaviour has changed.")
EOF
python program.py
