#!/usr/bin/env bash
# Expected: a client library that repeats failed requests leaves out POST, as urllib3's Retry does,
# because nobody knows whether the failed attempt was carried out.
# Seen: aiohttp-retry repeats each method after each 5xx: a POST whose response is 503 is sent three
# times with the default options. It also ignores Retry-After, and asks again within a second.
# httpx-retries, at 503, repeats only GET, and waits as long as the server says.
# It matters for orders and messages: a server that stores the order and fails at its last step (the
# confirmation, for example) stores it three times, and the client sees one failed call.
# aiohttp-retry 2.9.1, aiohttp 3.14.5, httpx-retries 0.6.0, httpx 0.28.1;
# https://www.rfc-editor.org/rfc/rfc9110#section-9.2.2 (idempotent methods) and section-10.2.3;
# https://github.com/inyutin/aiohttp_retry/blob/master/aiohttp_retry/client.py
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check \
    'aiohttp-retry==2.9.1' 'aiohttp==3.14.5' 'httpx-retries==0.6.0' 'httpx==0.28.1'
python --version
pip freeze

cat >program.py <<'EOF'
import asyncio
import sys
import time

import aiohttp
import aiohttp_retry
import httpx
import httpx_retries
from aiohttp import web

seen = {}


async def fail(request):
    key = request.match_info["client"], request.method
    seen.setdefault(key, []).append(time.monotonic())
    return web.Response(status=503, headers={"Retry-After": "2"})


async def main():
    app = web.Application()
    app.router.add_route("*", "/{client}", fail)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    address = f"http://127.0.0.1:{runner.addresses[0][1]}/"
    async with aiohttp_retry.RetryClient(aiohttp.ClientSession()) as client:
        for method in "GET", "POST":
            async with client.request(method, address + "aiohttp-retry"):
                pass
    transport = httpx_retries.RetryTransport(retry=httpx_retries.Retry(total=2))
    async with httpx.AsyncClient(transport=transport) as client:
        for method in "GET", "POST":
            await client.request(method, address + "httpx-retries")
    await runner.cleanup()


asyncio.run(main())
for (client, method), times in seen.items():
    waited = times[-1] - times[0]
    print(f"{client} sends {method} {len(times)} times within {waited:.1f} seconds")
waits = [times[1] - times[0] for times in seen.values() if len(times) > 1]
if (
    [len(times) for times in seen.values()] != [3, 3, 3, 1]
    or max(waits[:2]) > 1.9
    or waits[2] < 1.9
):
    sys.exit("The behaviour has changed.")
EOF
python program.py
