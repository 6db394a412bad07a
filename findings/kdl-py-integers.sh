#!/usr/bin/env bash
# Expected: the integer 8080 of a KDL document is an int, and is written as it was read.
# Seen: kdl-py reads each decimal number as a float. `port 8080` is written as `port 8080.0`,
# 9007199254740993 becomes 9007199254740992.0, and 1.10 becomes 1.1. Hexadecimal numbers are ints.
# It matters for a program that changes one line of a configuration: the next reader refuses the
# port, and identifiers of databases are changed silently.
# kdl-py 1.2.0; https://github.com/tabatkins/kdlpy; https://kdl.dev
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'kdl-py==1.2.0'
python --version
pip freeze

cat >program.py <<'EOF'
import sys

import kdl

LINES = ["port 8080", "id 9007199254740993", "version 1.10", "mask 0x1f"]
seen = {}
for line in LINES:
    document = kdl.parse(line)
    seen[line] = (type(document.nodes[0].args[0]).__name__, str(document).strip())
    print(line, "->", *seen[line])
EXPECTED = {
    "port 8080": ("float", "port 8080.0"),
    "id 9007199254740993": ("float", "id 9007199254740992.0"),
    "version 1.10": ("float", "version 1.1"),
    "mask 0x1f": ("int", "mask 31"),
}
if seen != EXPECTED:
    sys.exit("The behaviour has changed.")
EOF
python program.py
