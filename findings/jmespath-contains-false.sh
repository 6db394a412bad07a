#!/usr/bin/env bash
# Expected: in JMESPath, numbers and booleans are never equal, and an ordering such as > with a text
# is null, so a filter leaves that element out (specification, "Ordering Operators").
# Seen: jmespath compares them right by ==, but contains([0, 2], false) is true, and [1] == [true],
# too, because Python's comparison decides inside of arrays. A filter p > 10 over prices of which
# one is the text "n/a" raises a TypeError.
# It matters for queries over mixed data: with the implementations in other languages, the same
# query has another result, or one in place of an error.
# jmespath 1.1.0; https://jmespath.org/specification.html
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'jmespath==1.1.0'
python --version
pip freeze

cat >program.py <<'EOF'
import sys

import jmespath

EXPECTED = {
    "`0` == `false`": False,
    "contains(`[0, 2]`, `false`)": True,
    "contains(`[1]`, `true`)": True,
    "`[1]` == `[true]`": True,
    "pies[?price > `10`].name": "TypeError",
    "pies[?stock > `10`].name": ["apple"],
}
PIES = [
    {"name": "apple", "price": 12, "stock": 20},
    {"name": "plum", "price": "n/a", "stock": None},
]
seen = {}
for text in EXPECTED:
    try:
        seen[text] = jmespath.search(text, {"pies": PIES})
    except TypeError as error:
        seen[text] = type(error).__name__
    print(text, "is", seen[text])
if seen != EXPECTED:
    sys.exit("The behaviour has changed.")
EOF
python program.py
