#!/usr/bin/env bash
# Expected: in a Cerberus schema, a value that is an integer is also a number, and True is both or
# neither.
# Seen: True is valid for `type: integer`, with a range too, and invalid for `type: number`.
# `allowed: [1, 2]` accepts it as well. The rules min and max are skipped for a value that can't be
# compared: "3" passes `min: 5`.
# It matters for an API: a quantity of true is stored as an integer, and the rules of a range don't
# help.
# Cerberus 1.3.8; types_mapping in the package's cerberus/validator.py
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'Cerberus==1.3.8'
python --version
pip freeze

cat >program.py <<'EOF'
import sys

import cerberus

CASES = [
    ({"type": "integer"}, True),
    ({"type": "number"}, True),
    ({"type": "number"}, 1),
    ({"type": "integer", "min": 1, "max": 5}, True),
    ({"allowed": [1, 2]}, True),
    ({"min": 5}, "3"),
    ({"min": 5}, 3),
]
seen = []
for rules, value in CASES:
    seen.append(cerberus.Validator({"quantity": rules}).validate({"quantity": value}))
    print(rules, repr(value), "is", "valid" if seen[-1] else "invalid")
EXPECTED = [True, False, True, True, True, True, False]
if seen != EXPECTED:
    sys.exit("The behaviour has changed.")
EOF
python program.py
