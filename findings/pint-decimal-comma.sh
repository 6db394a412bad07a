#!/usr/bin/env bash
# Expected: pint reads "1,5 m" as 1.5 metres or refuses it, and "5 ft 6 in" as 5.5 feet or refuses
# it.
# Seen: commas are removed, so "1,5 m" is 15 metres, and "0,25 l" is 0 litres, since Python reads
# 025 as 0 and 25, which are multiplied. Numbers and units beside each other are multiplied, so "5
# ft 6 in" is 30 foot-inches, an area, and "2 kg 300 g" is 600 kilogram-grams.
# It matters for quantities that people type, or that come from a table, in most of Europe and South
# America: they are ten times too large, or nothing, and have the right unit, so no later check
# finds them.
# pint 0.25.3; string_preprocessor in the package's pint/util.py
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'pint==0.25.3'
python --version
pip freeze

cat >program.py <<'EOF'
import sys

import pint

EXPECTED = {
    "1.5 m": "1.5 meter",
    "1,500 m": "1500 meter",
    "1,5 m": "15 meter",
    "0,25 l": "0 liter",
    "5 ft 6 in": "30 foot * inch",
    "2 kg 300 g": "600 gram * kilogram",
}
units = pint.UnitRegistry()
seen = {text: str(units.Quantity(text)) for text in EXPECTED}
print(*(f"{text!r} is {result}" for text, result in seen.items()), sep="\n")
if seen != EXPECTED:
    sys.exit("The behaviour has changed.")
EOF
python program.py
