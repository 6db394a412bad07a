#!/usr/bin/env bash
# Expected: a client that sends "Accept-Encoding: gzip;q=0" gets no gzip, because a weight of 0
# means "not acceptable".
# Seen: Starlette's, brotli-asgi's, Flask-Compress's and Django's middleware all compress the
# response with gzip. All but Flask-Compress look for the word in the header. With "br;q=0, gzip",
# brotli-asgi sends br. A client that sends "*", which accepts every coding, gets an uncompressed
# response from three of the four.
# It matters for clients that switch compression off in this way because they can't decode it, such
# as small devices and proxies that edit the body: they get bytes that they can't read.
# Starlette 1.10.0, brotli-asgi 1.7.0, Flask-Compress 1.25, Django 5.2.19;
# https://www.rfc-editor.org/rfc/rfc9110#section-12.4.2
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check \
    'starlette==1.10.0' 'brotli-asgi==1.7.0' 'Flask-Compress==1.25' 'Flask==3.1.3' \
    'Django==5.2.19' 'httpx==0.28.1'
python --version
pip freeze

cat >program.py <<'EOF'
import asyncio
import sys

import django
import flask
import flask_compress
import httpx
from brotli_asgi import BrotliMiddleware
from django.conf import settings
from django.http import HttpResponse
from django.middleware.gzip import GZipMiddleware as DjangoMiddleware
from django.test import RequestFactory
from starlette.middleware.gzip import GZipMiddleware
from starlette.responses import PlainTextResponse

PIES = "pie " * 2_000


def by_asgi(middleware):
    async def request(accepted):
        transport = httpx.ASGITransport(middleware(PlainTextResponse(PIES)))
        async with httpx.AsyncClient(transport=transport) as client:
            headers = {"Accept-Encoding": accepted}
            return (await client.get("http://localhost/", headers=headers)).headers

    return lambda accepted: asyncio.run(request(accepted))


def by_flask(accepted):
    app = flask.Flask(__name__)
    flask_compress.Compress(app)
    app.add_url_rule("/", view_func=lambda: PIES)
    return app.test_client().get("/", headers={"Accept-Encoding": accepted}).headers


def by_django(accepted):
    request = RequestFactory().get("/", HTTP_ACCEPT_ENCODING=accepted)
    return DjangoMiddleware(lambda request: HttpResponse(PIES))(request).headers


settings.configure()
django.setup()
middleware = {
    "Starlette": by_asgi(GZipMiddleware),
    "brotli-asgi": by_asgi(BrotliMiddleware),
    "Flask-Compress": by_flask,
    "Django": by_django,
}
seen = {}
for accepted in "gzip;q=0", "br;q=0, gzip", "*", "identity":
    seen[accepted] = [get(accepted).get("Content-Encoding") for get in middleware.values()]
    print(f"{accepted}: {dict(zip(middleware, seen[accepted], strict=True))}")
if seen != {
    "gzip;q=0": ["gzip", "gzip", "gzip", "gzip"],
    "br;q=0, gzip": ["gzip", "br", "gzip", "gzip"],
    "*": [None, None, "zstd", None],
    "identity": [None, None, None, None],
}:
    sys.exit("The behaviour has changed.")
EOF
python program.py
