#!/usr/bin/env bash
# Expected: sexpdata reads (tstamp 5E815209) as a symbol, or at least writes it as it was, as it
# does with (tstamp 5E81520A).
# Seen: a word that Python's int() or float() accepts is a number: 5E815209 is 5 with 815,209 zeros,
# so it is infinite, and dumps() writes inf. 00012345 becomes 12345 and 12E4 becomes 120000.0. The
# word t is True, but is written as t.
# It matters for boards of KiCad 5, whose time stamps are eight hexadecimal digits: those of the
# first half of 2020 begin with 5E, and each that has no other letter becomes the same number.
# sexpdata 1.0.2; atom() in the package's sexpdata.py; https://dev-docs.kicad.org/en/file-formats/
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'sexpdata==1.0.2'
python --version
pip freeze

cat >program.py <<'EOF'
import sys

import sexpdata

EXPECTED = {
    "(tstamp 5E81520A)": "(tstamp 5E81520A)",
    "(tstamp 5E815209)": "(tstamp inf)",
    "(tstamp 5E900001)": "(tstamp inf)",
    "(tedit 00012345)": "(tedit 12345)",
    "(id 12E4)": "(id 120000.0)",
    "(at 1.5 -2)": "(at 1.5 -2)",
    "(flag t)": "(flag t)",
}
seen = {}
for text in EXPECTED:
    parsed = sexpdata.loads(text)
    seen[text] = sexpdata.dumps(parsed)
    print(f"{text}: read {parsed}, written {seen[text]}")
equal = sexpdata.loads("(tstamp 5E815209)") == sexpdata.loads("(tstamp 5E900001)")
print("the two time stamps are equal:", equal)
if seen != EXPECTED or not equal:
    sys.exit("The behaviour has changed.")
EOF
python program.py
