#!/usr/bin/env bash
# Expected: simpleion.loads("true") is a Python bool, as json.loads gives, or prints and compares as
# one everywhere.
# Seen: it is an IonPyBool, a kind of int. It prints as True and equals True, but `is True` and
# isinstance(value, bool) are false, and json.dumps writes 1. null `is None` is false too.
# It matters where Ion is read and JSON written, its most common use: clients with types refuse 1,
# or show it as a number, and checks such as `if value is None` don't work.
# amazon.ion 0.15.0; https://github.com/amazon-ion/ion-python
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'amazon.ion==0.15.0'
python --version
pip freeze

cat >program.py <<'EOF'
import json
import sys

from amazon.ion import simpleion

value, null = simpleion.loads("true"), simpleion.loads("null")
seen = {
    "printed": str(value),
    "== True": value == True,  # noqa: E712
    "is True": value is True,
    "isinstance of bool": isinstance(value, bool),
    "JSON": json.dumps(simpleion.loads("[true, false]")),
    "null is None": null is None,
}
print(*seen.items(), sep="\n")
EXPECTED = {
    "printed": "True",
    "== True": True,
    "is True": False,
    "isinstance of bool": False,
    "JSON": "[1, 0]",
    "null is None": False,
}
if seen != EXPECTED:
    sys.exit("The behaviour has changed.")
EOF
python program.py
