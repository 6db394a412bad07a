#!/usr/bin/env bash
# Expected: the absolute value of an integer in NumExpr is an integer, as with NumPy.
# Seen: abs() makes a float of each integer, also of one of 64 bits. 9007199254740993 becomes
# 9007199254740992.0. Sums, products and powers of the same array stay integers and exact.
# It matters for identifiers, times in nanoseconds and amounts in cents: an expression that is
# correct with NumPy compares unequal, or finds another record.
# numexpr 2.14.2, numpy 2.4.6; https://numexpr.readthedocs.io/en/latest/user_guide.html (supported
# functions)
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'numexpr==2.14.2' 'numpy==2.4.6'
python --version
pip freeze

cat >program.py <<'EOF'
import sys

import numexpr
import numpy

values = numpy.array([-(2**53) - 1, 7], dtype="int64")
EXPECTED = {
    "abs(values)": ("float64", [9007199254740992, 7]),
    "-values": ("int64", [9007199254740993, -7]),
    "where(values < 0, -values, values)": ("int64", [9007199254740993, 7]),
}
seen = {}
for text in EXPECTED:
    result = numexpr.evaluate(text)
    seen[text] = (str(result.dtype), [int(value) for value in result])
    print(text, *seen[text])
print("numpy:", numpy.abs(values), numpy.abs(values).dtype)
if seen != EXPECTED or int(numpy.abs(values)[0]) != 9007199254740993:
    sys.exit("The behaviour has changed.")
EOF
python program.py
