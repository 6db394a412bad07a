#!/usr/bin/env bash
# Expected: a timestamp in JSON Typedef is one of RFC 3339, so the leap second 1990-12-31T23:59:60Z,
# which is one of that RFC's examples, is valid.
# Seen: jtd, the implementation of the RFC's author, refuses it, and the small letters "t" and "z"
# as well. 1.0 is an integer, as the RFC requires.
# It matters for devices that pass on the time of GPS or a time server: a record of the last second
# of the year is refused as a whole.
# jtd 0.1.1; https://www.rfc-editor.org/rfc/rfc8927#section-3.3.3;
# https://www.rfc-editor.org/rfc/rfc3339#section-5.8
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'jtd==0.1.1'
python --version
pip freeze

cat >program.py <<'EOF'
import sys

import jtd

EXPECTED = {
    ("timestamp", "1990-12-31T23:59:59Z"): True,
    ("timestamp", "1990-12-31T23:59:60Z"): False,
    ("timestamp", "1990-12-31t23:59:59z"): False,
    ("int8", 1.0): True,
}
seen = {}
for kind, value in EXPECTED:
    schema = jtd.Schema.from_dict({"type": kind})
    seen[kind, value] = not jtd.validate(schema=schema, instance=value)
    print(kind, value, "is", "valid" if seen[kind, value] else "invalid")
if seen != EXPECTED:
    sys.exit("The behaviour has changed.")
EOF
python program.py
