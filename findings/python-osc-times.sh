#!/usr/bin/env bash
# Expected: a Python float that is sent by OSC arrives as it was, since OSC has a type for doubles
# (d).
# Seen: python-osc writes each float with 32 bits (f). The time 1704067245.5 arrives as
# 1704067200.0, 16777217.0 as 16777216.0, and 0.1 as 0.10000000149. Integers of 40 bits are exact,
# because for them it chooses the longer type.
# It matters for sensors and shows: events within two minutes have one time stamp, and a position in
# samples is off. add_arg(value, "d") is exact.
# python-osc 1.10.2; OscMessageBuilder._get_arg_type in the package's
# pythonosc/osc_message_builder.py
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'python-osc==1.10.2'
python --version
pip freeze

cat >program.py <<'EOF'
import sys

from pythonosc.osc_message import OscMessage
from pythonosc.osc_message_builder import OscMessageBuilder


def sent(value, *kind):
    builder = OscMessageBuilder("/pie")
    builder.add_arg(value, *kind)
    return OscMessage(builder.build().dgram).params[0]


EXPECTED = {
    1704067245.5: 1704067200.0,
    1704067140.0: 1704067200.0,
    16777217.0: 16777216.0,
    2**40 + 1: 2**40 + 1,
}
seen = {value: sent(value) for value in EXPECTED}
for value, received in seen.items():
    print(value, "arrives as", received)
print("as d:", sent(1704067245.5, "d"))
if seen != EXPECTED or sent(1704067245.5, "d") != 1704067245.5:
    sys.exit("The behaviour has changed.")
EOF
python program.py
