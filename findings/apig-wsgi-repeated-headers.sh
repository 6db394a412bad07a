#!/usr/bin/env bash
# Expected: if a WSGI application responds with two headers of one name, both reach the client, on
# two lines or joined by a comma (RFC 9110, 5.3), with each version of API Gateway's events.
# Seen: with events of version 2.0, which HTTP APIs and function URLs send, only the last one does.
# Set-Cookie is an exception. With version 1.0 both are there.
# It matters because middlewares add such headers: Vary: Accept-Encoding by one that compresses, and
# Vary: Cookie by a session. A cache then stores one response for all encodings. Of two Link headers
# one preload is missing, and of two WWW-Authenticate headers one scheme.
# apig-wsgi 2.20.0; V2Response in the package's apig_wsgi/__init__.py
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'apig-wsgi==2.20.0'
python --version
pip freeze

cat >program.py <<'EOF'
import sys

from apig_wsgi import make_lambda_handler


def application(environ, start_response):
    """Respond with two values of two headers."""
    headers = [("Vary", "Accept-Encoding"), ("Vary", "Cookie")]
    headers += [("Set-Cookie", "a=1"), ("Set-Cookie", "b=2"), ("Content-Type", "text/plain")]
    start_response("200 OK", headers)
    return [b"pies"]


HOST = {"host": "www.example.com"}
VERSION_1 = {
    "version": "1.0",
    "httpMethod": "GET",
    "path": "/",
    "headers": HOST,
    "multiValueHeaders": {"host": ["www.example.com"]},
    "queryStringParameters": None,
    "multiValueQueryStringParameters": None,
    "requestContext": {},
    "body": None,
    "isBase64Encoded": False,
}
VERSION_2 = {
    "version": "2.0",
    "rawPath": "/",
    "rawQueryString": "",
    "headers": HOST,
    "requestContext": {
        "http": {"method": "GET", "sourceIp": "192.0.2.1", "protocol": "HTTP/1.1"},
        "domainName": "www.example.com",
    },
    "isBase64Encoded": False,
}
handler = make_lambda_handler(application)
first, second = handler(VERSION_1, None), handler(VERSION_2, None)
print("1.0:", first["multiValueHeaders"])
print("2.0:", second["headers"], second["cookies"])
if (
    first["multiValueHeaders"]["Vary"] != ["Accept-Encoding", "Cookie"]
    or second["headers"] != {"vary": "Cookie", "content-type": "text/plain"}
    or second["cookies"] != ["a=1", "b=2"]
):
    sys.exit("The behaviour has changed.")
EOF
python program.py
