#!/usr/bin/env bash
# Expected: the numbers with a fraction in a JSON array have one type, float, or Decimal if the
# program asks for it.
# Seen: for demjson3, 0.3 is a float, and 0.30000000000000004, which JavaScript writes for 0.1 +
# 0.2, a Decimal. The sum of both raises a TypeError. 1e2 is an int and -0 a float. It is so with
# strict=True, too.
# It matters because the type depends on the digits: a program that has calculated with thousands of
# numbers fails with the next one.
# demjson3 3.0.6; https://www.rfc-editor.org/rfc/rfc8259#section-6;
# https://github.com/nielstron/demjson3
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'demjson3==3.0.6'
python --version
pip freeze

cat >program.py <<'EOF'
import sys

import demjson3

EXPECTED = {
    "0.3": "float",
    "0.30000000000000004": "Decimal",
    "1e2": "int",
    "1.0": "float",
    "-0": "float",
    "0": "int",
}
seen = {}
for text in EXPECTED:
    seen[text] = type(demjson3.decode(text, strict=True)).__name__
    print(text, "is of type", seen[text])
try:
    print(sum(demjson3.decode("[0.3, 0.30000000000000004]")))
except TypeError as error:
    print("the sum of [0.3, 0.30000000000000004]:", error)
else:
    sys.exit("The behaviour has changed: the numbers can be added.")
if seen != EXPECTED:
    sys.exit("The behaviour has changed.")
EOF
python program.py
