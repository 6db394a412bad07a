#!/usr/bin/env bash
# Expected: tablib writes a timedelta as JSON like a date, a time, a Decimal and a UUID, or raises a
# TypeError that names the type.
# Seen: json.dumps() raises ValueError: Circular reference detected. The function that is to convert
# values returns those that it doesn't know as they are, which json takes for a loop. The CSV and
# the HTML of the same table are right.
# It matters for exports of working hours: one searches for objects that refer to each other, where
# there is one value of a type that isn't handled.
# tablib 3.10.0; serialize_objects_handler in the package's tablib/formats/_json.py
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'tablib==3.10.0'
python --version
pip freeze

cat >program.py <<'EOF'
import datetime
import decimal
import sys
import uuid

import tablib

VALUES = [
    datetime.date(2024, 1, 1),
    datetime.datetime(2024, 1, 1, 9),
    decimal.Decimal("1.50"),
    uuid.UUID(int=1),
    datetime.time(9, 30),
    datetime.timedelta(hours=9),
]
seen = []
for value in VALUES:
    table = tablib.Dataset(headers=["value"])
    table.append([value])
    try:
        written = table.export("json")
    except (TypeError, ValueError) as error:
        written = f"{type(error).__name__}: {error}"
    seen.append(written.startswith("ValueError: Circular reference detected"))
    print(repr(value), "| JSON", written, "| CSV", table.export("csv").split()[1:])
if seen != [False] * 5 + [True]:
    sys.exit("The behaviour has changed.")
EOF
python program.py
