#!/usr/bin/env bash
# Expected: fhir.resources keeps a decimal as it was sent, because FHIR gives its trailing zeros a
# meaning: 0.10 is a more precise measurement than 0.1, and implementations have to preserve it.
# Seen: 1.50 comes back as 1.5, 0.010 as 0.01, 1.0E3 as 1000.0, and of 28 digits 17 are left. The
# attribute is a Decimal, but it was made from a float. Only a Decimal of the program's own keeps
# its digits, until the resource is written as JSON.
# It matters for laboratory results that pass through a service: the precision is part of the
# result, and a signed or hashed resource no longer matches.
# fhir.resources 8.3.0; https://hl7.org/fhir/R5/datatypes.html#decimal (its notes on precision);
# https://github.com/nazrulworld/fhir.resources
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'fhir.resources==8.3.0'
python --version
pip freeze

cat >program.py <<'EOF'
import decimal
import json
import sys

from fhir.resources.quantity import Quantity

seen = {}
for text in "1.50", "0.010", "1.0E3", "0.1234567890123456789012345678":
    quantity = Quantity.model_validate_json(f'{{"value": {text}}}')
    seen[text] = quantity.model_dump_json()
    print(f"{text} is read as {quantity.value!r} and written as {seen[text]}")
own = Quantity(value=decimal.Decimal("1.50"))
print(f"{own.value!r} is written as {own.model_dump_json()}")
if [
    json.loads(text, parse_float=str)["value"] for text in (*seen.values(), own.model_dump_json())
] != [
    "1.5",
    "0.01",
    "1000.0",
    "0.12345678901234568",
    "1.5",
]:
    sys.exit("The behaviour has changed.")
EOF
python program.py
