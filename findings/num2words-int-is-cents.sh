#!/usr/bin/env bash
# Expected: 100 and 100.0 are the same amount in words.
# Seen: num2words takes an int for cents and everything else for whole units: 100 is "one dollar,
# zero cents", 100.0 and "100" are one hundred dollars. Nothing in the call says so.
# It matters for invoices and cheques: an amount without decimals that is read from JSON or a
# database is an int, and the words say a hundredth of the figures. Pass a Decimal.
# num2words 0.5.14; https://github.com/savoirfairelinux/num2words/blob/master/num2words/currency.py
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'num2words==0.5.14'
python --version
pip freeze

cat >program.py <<'EOF'
import sys
from decimal import Decimal

from num2words import num2words

AMOUNTS = 100, 100.0, "100", Decimal(100), 1250
seen = [num2words(amount, to="currency", currency="USD") for amount in AMOUNTS]
for amount, words in zip(AMOUNTS, seen):
    print(f"{amount!r}: {words}")
if seen != [
    "one dollar, zero cents",
    "one hundred dollars, zero cents",
    "one hundred dollars, zero cents",
    "one hundred dollars, zero cents",
    "twelve dollars, fifty cents",
]:
    sys.exit("The behaviour has changed.")
EOF
python program.py
