#!/usr/bin/env bash
# Expected: a date that a Flask application puts into its session is the same date at the next
# request, because the session keeps the type of datetimes.
# Seen: a datetime without a zone comes back with the zone UTC and without its microseconds, so a
# comparison with the original raises TypeError. A date comes back as a str such as "Thu, 01 Jan
# 2026 00:00:00 GMT". In the request that stores them, all is well, so a test with one request
# doesn't show it. With Flask-Session, the same code gets equal values of the same types.
# It matters for "signed in since" and for date filters: the program runs until the second request,
# and behaves differently after a change of the session's store.
# Flask 3.1.3, Flask-Session 0.8.0;
# https://flask.palletsprojects.com/en/stable/api/#flask.json.tag.TaggedJSONSerializer (lists
# datetime)
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check \
    'Flask==3.1.3' 'Flask-Session==0.8.0' 'cachelib==0.17.0'
python --version
pip freeze

cat >program.py <<'EOF'
import sys
from datetime import date, datetime

import flask
from cachelib.file import FileSystemCache
from flask_session import Session

VALUES = {"datetime": datetime(2026, 1, 1, 10, 30, 0, 5), "date": date(2026, 1, 1)}


def serve(**config):
    app = flask.Flask(__name__)
    app.config.update(SECRET_KEY="pies", **config)
    if config:
        Session(app)

    @app.post("/<name>")
    def store(name):
        flask.session["value"] = VALUES[name]
        return repr(flask.session["value"])

    @app.get("/<name>")
    def load(name):
        value = flask.session["value"]
        try:
            later = value > VALUES[name]
        except TypeError as error:
            later = str(error)
        return [repr(value), later]

    return app


apps = {
    "cookie": serve(),
    "Flask-Session": serve(SESSION_TYPE="cachelib", SESSION_CACHELIB=FileSystemCache("store")),
}
seen = {}
for kind, app in apps.items():
    for name in VALUES:
        with app.test_client() as client:
            stored = client.post(f"/{name}").text
            seen[kind, name] = [stored == repr(VALUES[name]), *client.get(f"/{name}").json]
        print(kind, name, seen[kind, name])
UTC = "datetime.datetime(2026, 1, 1, 10, 30, tzinfo=datetime.timezone.utc)"
if seen != {
    ("cookie", "datetime"): [True, UTC, "can't compare offset-naive and offset-aware datetimes"],
    ("cookie", "date"): [
        True,
        "'Thu, 01 Jan 2026 00:00:00 GMT'",
        "'>' not supported between instances of 'str' and 'datetime.date'",
    ],
    ("Flask-Session", "datetime"): [True, repr(VALUES["datetime"]), False],
    ("Flask-Session", "date"): [True, repr(VALUES["date"]), False],
}:
    sys.exit("The behaviour has changed.")
EOF
python program.py
