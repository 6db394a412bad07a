#!/usr/bin/env bash
# Expected: a user uploads a file whose name contains a quotation mark with a browser, and the
# program gets this name. Browsers write the mark as %22 in the form (HTML standard, 4.10.21.8).
# Seen: Starlette, Django and tornado give a name with "%22". Werkzeug and multipart decode it, so
# with them a file whose name really contains %22 gets a quotation mark, because browsers don't
# escape a percent sign.
# It matters for names such as `12" vinyl.jpg`: a download has another name than the upload, a
# search for the name finds nothing, and a program that moves to another framework stores other
# names.
# Starlette 1.10.0 (python-multipart 0.0.34), Django 5.2.19, tornado 6.6.1, multipart 2.0.1,
# Werkzeug 3.1.9;
# https://html.spec.whatwg.org/multipage/form-control-infrastructure.html#multipart-form-data
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check \
    'starlette==1.10.0' 'python-multipart==0.0.34' 'django==5.2.19' 'tornado==6.6.1' \
    'multipart==2.0.1' 'werkzeug==3.1.9'
python --version
pip freeze

cat >program.py <<'EOF'
import asyncio
import io
import sys

import django.conf
import multipart
from django.core.handlers.wsgi import WSGIRequest
from starlette.datastructures import Headers
from starlette.formparsers import MultiPartParser
from tornado.httputil import parse_body_arguments
from werkzeug.formparser import parse_form_data

TYPE = "multipart/form-data; boundary=border"
FORM = """\
--border
Content-Disposition: form-data; name="image"; filename="{}"
Content-Type: image/jpeg

apple
--border--
"""


def environ(body):
    return {
        "REQUEST_METHOD": "POST",
        "PATH_INFO": "/",
        "CONTENT_TYPE": TYPE,
        "CONTENT_LENGTH": str(len(body)),
        "wsgi.input": io.BytesIO(body),
    }


async def by_starlette(body):
    async def stream():
        yield body

    form = await MultiPartParser(Headers({"content-type": TYPE}), stream()).parse()
    return form["image"].filename


def by_tornado(body):
    files = {}
    parse_body_arguments(TYPE, body, {}, files)
    return files["image"][0].filename


PARSERS = {
    "Starlette": lambda body: asyncio.run(by_starlette(body)),
    "Django": lambda body: WSGIRequest(environ(body)).FILES["image"].name,
    "tornado": by_tornado,
    "multipart": lambda body: multipart.parse_form_data(environ(body))[1]["image"].filename,
    "Werkzeug": lambda body: parse_form_data(environ(body))[2]["image"].filename,
}
django.conf.settings.configure()
seen = {}
for written in "12%22 vinyl.jpg", "100%25.jpg":
    body = FORM.format(written).replace("\n", "\r\n").encode()
    for name, parse in PARSERS.items():
        seen[written, name] = parse(body)
        print(f'filename="{written}": {name}: {seen[written, name]}')
decoded = {"multipart", "Werkzeug"}
if seen != {
    (written, name): written.replace("%22", '"') if name in decoded else written
    for written in ("12%22 vinyl.jpg", "100%25.jpg")
    for name in PARSERS
}:
    sys.exit("The behaviour has changed.")
EOF
python program.py
