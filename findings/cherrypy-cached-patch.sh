#!/usr/bin/env bash
# Expected: `tools.caching` answers GET and HEAD from the cache. A PATCH reaches its handler, and the
# cached page is dropped, as after POST, PUT and DELETE.
# Seen: once a page is cached, a PATCH to its address gets that page with 200 and an Age header. The
# handler isn't called, so the change is lost. The option `invalid_methods` lists POST, PUT and
# DELETE by default, and every other method is looked up in the cache.
# It matters because the client sees a success, and only if the page was read before: tests with a
# fresh server pass.
# CherryPy 18.10.0; https://github.com/cherrypy/cherrypy/blob/v18.10.0/cherrypy/lib/caching.py, get
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'cherrypy==18.10.0'
python --version
pip freeze

cat >program.py <<'EOF'
import io
import os
import sys
from wsgiref.util import setup_testing_defaults

import cherrypy

cherrypy.log.screen = False
stock = {"pies": 1}


class Root:
    @cherrypy.expose
    @cherrypy.tools.caching()
    def index(self):
        if cherrypy.request.method in ("PATCH", "PUT"):
            stock["pies"] += 1
        return str(stock["pies"])


application = cherrypy.Application(Root())


def ask(method):
    environ = {"REQUEST_METHOD": method, "CONTENT_LENGTH": "2", "wsgi.input": io.BytesIO(b"{}")}
    setup_testing_defaults(environ)
    seen = []
    response = application(environ, lambda status, *_: seen.append(status))
    return method, *seen, b"".join(response).decode()


seen = [ask(method) for method in ("GET", "PATCH", "GET", "PUT", "GET")]
print(*seen, sep="\n")
changed = [text for _, _, text in seen] != ["1", "1", "1", "2", "2"]
if changed:
    print("The behaviour has changed.")
sys.stdout.flush()
os._exit(changed)  # a thread of the cache keeps the program running
EOF
python program.py
