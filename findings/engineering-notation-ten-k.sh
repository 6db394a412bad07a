#!/usr/bin/env bash
# Expected: "10K", as many lists of parts write 10,000 ohms, is 10,000 or an error, and so is "10 k"
# with a space, which the SI prescribes, and "4k7".
# Seen: engineering_notation drops what it doesn't know behind a number. 10K and "10 k" are 10, 4k7
# is 4,000, 3V3 is 3, and "2.2 kΩ" is 2.2. 10meg, ten million for Spice, is 0.01. There is no
# exception. A number just below a thousand is printed as 1000k.
# It matters for values of resistors and capacitors from such a list: sums are wrong by a thousand,
# and a circuit has another frequency.
# engineering-notation 0.13.3; https://github.com/slightlynybbled/engineering_notation
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'engineering-notation==0.13.3'
python --version
pip freeze

cat >program.py <<'EOF'
import sys

from engineering_notation import EngNumber

EXPECTED = {
    "10k": (10000.0, "10k"),
    "10K": (10.0, "10"),
    "10 k": (10.0, "10"),
    "4k7": (4000.0, "4k"),
    "3V3": (3.0, "3"),
    "2.2 kΩ": (2.2, "2.20"),
    "10meg": (0.01, "10m"),
    "999999": (999999.0, "1000k"),
}
seen = {}
for text in EXPECTED:
    number = EngNumber(text)
    seen[text] = float(number), str(number)
    print("{} is {}, printed as {}".format(text, *seen[text]))
if seen != EXPECTED:
    sys.exit("The behaviour has changed.")
EOF
python program.py
