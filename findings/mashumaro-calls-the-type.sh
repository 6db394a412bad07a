#!/usr/bin/env bash
# Expected: a field of the type bool or int that gets JSON of another type is an error, as a field
# that can't be converted is: mashumaro raises InvalidFieldValue for "" in an int.
# Seen: mashumaro calls the type. "false" is True, 1.7 is 1, and the JSON number 1.1 in a Decimal is
# 1.100000000000000088817841970012523233890533447265625. In a union, 1.5 for int | str is 1.
# It matters for settings and for clients that write booleans as text: a switch that is off is on.
# mashumaro 3.23; https://github.com/Fatal1ty/mashumaro#supported-data-types
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'mashumaro==3.23'
python --version
pip freeze

cat >program.py <<'EOF'
import sys
from dataclasses import dataclass
from decimal import Decimal

from mashumaro.exceptions import InvalidFieldValue
from mashumaro.mixins.json import DataClassJSONMixin


@dataclass
class Lamp(DataClassJSONMixin):
    is_on: bool = True
    brightness: int = 0
    price: Decimal = Decimal(0)
    place: int | str = ""


lamp = Lamp.from_json('{"is_on": "false", "brightness": 1.7, "price": 1.1, "place": 1.5}')
print(lamp)
try:
    Lamp.from_json('{"brightness": ""}')
    error = None
except InvalidFieldValue as invalid:
    error = invalid
print("an empty text for an int:", repr(error))
if lamp != Lamp(True, 1, Decimal(1.1), 1) or error is None:
    sys.exit("The behaviour has changed.")
EOF
python program.py
