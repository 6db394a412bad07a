#!/usr/bin/env bash
# Expected: a response that has no Content-Type keeps none on AWS Lambda.
# Seen: for HTTP APIs and function URLs Mangum adds `content-type: application/json`, to a redirect
# and to a 204, and to plain text as well.
# It matters for a page that works under uvicorn, where the browser guesses its type, and is shown as
# broken JSON on Lambda. Clients that parse each response with this type fail at an empty one.
# mangum 0.22.0; https://github.com/Kludex/mangum/blob/main/mangum/handlers/api_gateway.py
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'mangum==0.22.0'
python --version
pip freeze

cat >program.py <<'EOF'
import sys

from mangum import Mangum


async def app(scope, receive, send):
    status = int(scope["path"].strip("/"))
    await send({"type": "http.response.start", "status": status, "headers": []})
    await send({"type": "http.response.body", "body": b"hello" if status == 200 else b""})


def event(path):
    http = {"method": "GET", "path": path, "protocol": "HTTP/1.1", "sourceIp": "192.0.2.1"}
    return {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": path,
        "rawQueryString": "",
        "headers": {"host": "example.com"},
        "requestContext": {"http": http},
        "isBase64Encoded": False,
    }


seen = {}
for status in 200, 204, 303:
    response = Mangum(app, lifespan="off")(event(f"/{status}"), None)
    print(response)
    seen[response["statusCode"]] = response["headers"]
if seen != dict.fromkeys((200, 204, 303), {"content-type": "application/json"}):
    sys.exit("The behaviour has changed.")
EOF
python program.py
