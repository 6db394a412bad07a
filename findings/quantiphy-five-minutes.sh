#!/usr/bin/env bash
# Expected: "5 min" are five minutes, "10 Pa" ten pascals and "12 apples" twelve: a prefix such as m
# or P belongs to a unit that is known.
# Seen: QuantiPhy takes the first letter of each word for a prefix if it is one. 5 min are 0.005 in,
# 10 Pa are 10,000,000,000,000,000 a, 1 cd is a hundredth of a d, and 12 apples are
# 0.000000000000000012 pples. Printed again, most look as before, so only a computation shows it. 5
# h and 20 gallons are right.
# It matters for measurements from files and command lines. The argument ignore_sf, or a list of
# known units, which is empty at first, avoids it.
# quantiphy 2.23; https://quantiphy.readthedocs.io/en/stable/user.html
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'quantiphy==2.23'
python --version
pip freeze

cat >program.py <<'EOF'
import sys

from quantiphy import Quantity

EXPECTED = {
    "5 mm": (0.005, "m", "5 mm"),
    "5 h": (5.0, "h", "5 h"),
    "5 min": (0.005, "in", "5 min"),
    "10 Pa": (1e16, "a", "10e15 a"),
    "1 cd": (0.01, "d", "10 md"),
    "12 apples": (1.2e-17, "pples", "12 apples"),
    "20 gallons": (20.0, "gallons", "20 gallons"),
}
seen = {}
for text in EXPECTED:
    quantity = Quantity(text)
    seen[text] = quantity.real, quantity.units, str(quantity)
    print("{} is {} of {!r}, printed as {!r}".format(text, *seen[text]))
if seen != EXPECTED:
    sys.exit("The behaviour has changed.")
EOF
python program.py
