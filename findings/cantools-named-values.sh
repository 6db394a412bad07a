#!/usr/bin/env bash
# Expected: a signal with named values is decoded as a str or an enumeration, which can be looked up
# in a dict or set and written as JSON, because it equals "on".
# Seen: it is a NamedSignalValue, which equals the text "on", but not the number 1, and has no hash:
# `value in ("on", "off")` is true, `value in {"on", "off"}` and `{"on": "green"}[value]` raise
# TypeError, and so does json.dumps() of a decoded message. A number without a name is decoded as an
# int, so a message fails only with some data.
# It matters for loggers and gateways: tests with values that have no name pass.
# cantools 45.1.0; the package's cantools/database/namedsignalvalue.py;
# https://cantools.readthedocs.io/
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'cantools==45.1.0'
python --version
pip freeze

cat >program.py <<'EOF'
import json
import sys

import cantools

database = cantools.database.load_string(
    """VERSION ""
BU_: A
BO_ 1 Lamp: 1 A
 SG_ State : 0|8@1+ (1,0) [0|255] "" A
VAL_ 1 State 0 "off" 1 "on" ;
""",
    "dbc",
)
TESTS = {
    "== 'on'": lambda value: value == "on",
    "in a tuple": lambda value: value in ("off", "on"),
    "in a set": lambda value: value in {"off", "on"},
    "of a dict": lambda value: {"off": "red", "on": "green"}.get(value),
    "as JSON": lambda value: json.dumps({"State": value}),
}
seen = {}
for number in (1, 7):
    value = database.decode_message("Lamp", bytes([number]))["State"]
    print(number, type(value).__name__, value)
    for name, test in TESTS.items():
        try:
            result = test(value)
        except TypeError as error:
            result = "TypeError"
            print("   ", error)
        seen[number, name] = result
        print("   ", name, result)
if [*seen.values()] != [True] * 2 + ["TypeError"] * 3 + [False] * 3 + [None, '{"State": 7}']:
    sys.exit("The behaviour has changed.")
EOF
python program.py
