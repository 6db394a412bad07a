#!/usr/bin/env bash
# Expected: pytomlpp.dumps({"flags": [True, False]}) writes [ true, false ].
# Seen: it writes [ 1, 0 ]. A boolean outside of an array is right.
# It matters for settings that are read, changed and written: other programs, in Rust or Go, refuse
# the file because TOML's booleans and integers are different types, and Python's `is True` is
# false.
# pytomlpp 1.1.0; dumps in the package's pytomlpp/_io.py
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'pytomlpp==1.1.0'
python --version
pip freeze

cat >program.py <<'EOF'
import sys
import tomllib

import pytomlpp

EXPECTED = {
    "flag = true": {"flag": True},
    "flags = [ 1, 0 ]": {"flags": [True, False]},
}
seen = {}
for value in EXPECTED.values():
    text = pytomlpp.dumps(value).strip()
    seen[text] = value
    print(f"{value} is written as {text!r}, and read as {tomllib.loads(text)}")
if seen != EXPECTED:
    sys.exit("The behaviour has changed.")
EOF
python program.py
