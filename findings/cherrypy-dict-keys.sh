#!/usr/bin/env bash
# Expected: if a handler returns a dict, the client gets an error, or JSON as in Flask and Bottle.
# Seen: CherryPy sends the dict's keys, joined, as text/html with 200. It iterates over each result
# that isn't text, and the items of a dict are its keys.
# It matters when `@cherrypy.tools.json_out()` is forgotten: the log has no error, and a client that
# checks only the status reports success.
# CherryPy 18.10.0; https://github.com/cherrypy/cherrypy/blob/v18.10.0/cherrypy/_cprequest.py,
# ResponseBody
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
import sys
from wsgiref.util import setup_testing_defaults

import cherrypy

cherrypy.log.screen = False


class Root:
    @cherrypy.expose
    def index(self):
        return {"name": "Ann", "age": 30}


seen = []
environ = {}
setup_testing_defaults(environ)
response = cherrypy.Application(Root())(environ, lambda status, *_: seen.append(status))
seen.append(b"".join(response))
print(*seen)
if seen != ["200 OK", b"nameage"]:
    sys.exit("The behaviour has changed.")
EOF
python program.py
