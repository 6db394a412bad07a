#!/usr/bin/env bash
# Expected: an expression in asteval, "round(2.675, 2)", has the value that it has in Python,
# wherever it is evaluated.
# Seen: if NumPy is installed, asteval's round, abs, sum, any and all are NumPy's. round(2.675, 2)
# is 2.68, and 2.67 in Python and without NumPy. abs(-1) can't be written as JSON, since it is a
# NumPy integer.
# It matters for formulas of users about prices: installing an unrelated package that needs NumPy
# changes cents.
# asteval 1.0.10, numpy 2.4.6; https://lmfit.github.io/asteval/basics.html (built-in functions)
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'asteval==1.0.10' 'numpy==2.4.6'
python --version
pip freeze

cat >program.py <<'EOF'
import json
import sys

import asteval


def written(value):
    try:
        return json.dumps(value)
    except TypeError as error:
        return str(error)


seen = {}
for use_numpy in True, False:
    interpreter = asteval.Interpreter(use_numpy=use_numpy)
    seen[use_numpy] = [
        float(interpreter("round(2.675, 2)")),
        written(interpreter("abs(-1)")),
        written(interpreter("2.5 > 1 and all([1])")),
    ]
    print("with" if use_numpy else "without", "NumPy:", *seen[use_numpy], sep=" | ")
print("Python:", round(2.675, 2))
EXPECTED = {
    True: [
        2.68,
        "Object of type int64 is not JSON serializable",
        "Object of type bool is not JSON serializable",
    ],
    False: [2.67, "1", "true"],
}
if seen != EXPECTED:
    sys.exit("The behaviour has changed.")
EOF
python program.py
