#!/usr/bin/env bash
# Expected: CEL has no division of an integer by a double: the expression is an error ("no such
# overload"), or the integer is converted.
# Seen: cel-python divides and drops the fraction. For a price of 3, which is an integer in JSON,
# `price / 2.0` is 1, and for 3.5 it is 1.75. With the other operators, the same operands raise an
# error, as they should. string(true) is "True", and duration("1.5s") is one second.
# It matters for policies and prices: the result depends on whether an amount happens to be whole.
# cel-python 0.5.0;
# https://github.com/google/cel-spec/blob/master/doc/langdef.md#list-of-standard-definitions;
# https://github.com/cloud-custodian/cel-python/blob/main/src/celpy/celtypes.py
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'cel-python==0.5.0'
python --version
pip freeze

cat >program.py <<'EOF'
import sys

import celpy

EXPECTED = {
    ("price / 2.0", 3): 1,
    ("price / 2.0", 3.5): 1.75,
    ("price * 0.5", 3): "CELEvalError",
    ("price * 0.5", 3.5): 1.75,
    ("price + 0.5", 3): "CELEvalError",
    ("price + 0.5", 3.5): 4.0,
    ("string(true)", 0): "True",
    ('string(duration("1.5s"))', 0): "1s",
}
environment = celpy.Environment()
seen = {}
for text, price in EXPECTED:
    program = environment.program(environment.compile(text))
    try:
        result = program.evaluate({"price": celpy.json_to_cel(price)})
    except celpy.CELEvalError as error:
        result = type(error).__name__
    seen[text, price] = result
    print(f"price {price}: {text} is {result!r}")
if seen != EXPECTED:
    sys.exit("The behaviour has changed.")
EOF
python program.py
