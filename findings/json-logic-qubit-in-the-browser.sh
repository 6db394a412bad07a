#!/usr/bin/env bash
# Expected: a JsonLogic rule has the same result in the browser and on the server: that is what the
# format is for. The reference describes == as equality "with type coercion", as in JavaScript.
# Seen: with json-logic-qubit, "1.0" does not equal 1, "1" does not equal true, and -5 modulo 3 is 1
# in place of -2. The operator `cat` writes True, None and 1.0. Comparing an empty text with a
# number raises a ValueError.
# It matters for rules that check a form in both places: what one accepts, the other refuses.
# json-logic-qubit 0.9.1; https://jsonlogic.com/operations.html
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'json-logic-qubit==0.9.1'
python --version
pip freeze

cat >program.py <<'EOF'
import json
import sys

from json_logic import jsonLogic

RULES = [  # rule, result in JavaScript, result of the library
    ({"==": ["1.0", 1]}, True, False),
    ({"==": ["1", True]}, True, False),
    ({"==": ["1", 1]}, True, True),
    ({"%": [-5, 3]}, -2, 1),
    ({"cat": ["paid: ", True]}, "paid: true", "paid: True"),
    ({"cat": [1.0, " pies"]}, "1 pies", "1.0 pies"),
    ({"cat": ["a", None, "b"]}, "ab", "aNoneb"),
    ({"<": ["", 18]}, True, "ValueError"),
]
changed = False
for rule, javascript, expected in RULES:
    try:
        result = jsonLogic(rule, {})
    except ValueError as error:
        result = type(error).__name__
    print(json.dumps(rule), "| JavaScript:", repr(javascript), "| Python:", repr(result))
    changed |= (result, type(result)) != (expected, type(expected))
if changed:
    sys.exit("The behaviour has changed.")
EOF
python program.py
