#!/usr/bin/env bash
# Expected: the handler sees the same fields, whether a form is sent as multipart/form-data or as
# application/x-www-form-urlencoded, which is what a form without files uses.
# Seen: in a urlencoded form, and in the query, Sanic drops the fields that are empty. In a
# multipart form they are kept, as an empty string. get_form() and get_args() of the request keep
# them with keep_blank_values=True.
# It matters for a form that changes a record: a user who clears a field sends it empty, but the
# handler sees a request that doesn't mention the field, and leaves the old value.
# It works as soon as the form has a file input.
# sanic 25.12.1; https://url.spec.whatwg.org/#urlencoded-parsing (a name without a value is a pair);
# https://github.com/sanic-org/sanic/blob/main/sanic/request/types.py, get_args and get_form
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'sanic==25.12.1' 'httpx==0.28.1'
python --version
pip freeze

cat >program.py <<'EOF'
import asyncio
import logging
import sys

import httpx
from sanic import Sanic, json

app = Sanic("pies")
logging.disable(logging.INFO)


@app.route("/", methods=["GET", "POST"])
async def show(request):
    return json({"query": request.args, "form": request.form})


async def main():
    server = await app.create_server("127.0.0.1", 0, return_asyncio_server=True, access_log=False)
    await server.startup()
    port = server.server.sockets[0].getsockname()[1]
    fields = {"name": "", "phone": "5"}
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
        responses = {
            "query": await client.get("/", params=fields),
            "urlencoded": await client.post("/", data=fields),
            "multipart": await client.post("/", files={n: (None, v) for n, v in fields.items()}),
        }
    await server.close()
    seen = {name: response.json() for name, response in responses.items()}
    for name, received in seen.items():
        print(f"{name}: {received}")
    if seen != {
        "query": {"query": {"phone": ["5"]}, "form": {}},
        "urlencoded": {"query": {}, "form": {"phone": ["5"]}},
        "multipart": {"query": {}, "form": {"name": [""], "phone": ["5"]}},
    }:
        sys.exit("The behaviour has changed.")


asyncio.run(main())
EOF
python program.py
