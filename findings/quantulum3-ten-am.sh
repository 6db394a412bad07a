#!/usr/bin/env bash
# Expected: a library that finds quantities in texts takes "at 10 am" for a time of day, or finds
# nothing.
# Seen: quantulum3 finds ten attometres, and in "room 5 a" five years. "4 am" and "2 pm" are
# nothing. Of "-5 to 5 degrees" it gives the mean, 0, of "5-10 kg" 7.5.
# It matters for texts of announcements and manuals: an index has lengths of 10⁻¹⁷ m, and a limit is
# replaced by a mean that the text doesn't have.
# quantulum3 0.10.0, without the optional classifier; https://github.com/nielstron/quantulum3
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'quantulum3==0.10.0'
python --version
pip freeze

cat >program.py <<'EOF'
import sys

from quantulum3 import parser

EXPECTED = {
    "the shop opens at 10 am": [(10.0, "attometre")],
    "come to room 5 a": [(5.0, "year")],
    "from -5 to 5 degrees": [(0.0, "degree angle")],
    "5-10 kg of pies": [(7.5, "kilogram")],
    "10 m of pies": [(10.0, "metre")],
}
seen = {
    text: [(found.value, found.unit.name) for found in parser.parse(text)] for text in EXPECTED
}
print(*seen.items(), sep="\n")
if seen != EXPECTED:
    sys.exit("The behaviour has changed.")
EOF
python program.py
