#!/usr/bin/env bash
# Expected: Price.fromstring("0.285 €") is 28.5 cents. A number that begins with 0 and a point can't
# be a number of thousands.
# Seen: it is 285 euros. A separator before exactly three digits groups thousands, whatever is
# before it. 0.29 € is 0.29, and 0.2850 € is 0.2850. An argument decimal_separator="." repairs it.
# The sign of "-5,00 €", a discount, is lost, too, as in "-$10".
# It matters for prices with three decimals, which energy, fuel and telephone companies publish: the
# cheapest tariff becomes the dearest, a thousand times too high.
# price-parser 0.5.1; get_decimal_separator in the package's price_parser/parser.py; "Decimal
# separator" in the README in METADATA
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'price-parser==0.5.1'
python --version
pip freeze

cat >program.py <<'EOF'
import sys

from price_parser import Price

EXPECTED = {
    "0.29 €/kWh": "0.29",
    "0.285 €/kWh": "285",
    "0.2850 €/kWh": "0.2850",
    "1.799 € per litre": "1799",
    "-5,00 €": "5.00",
}
seen = {}
for text in EXPECTED:
    seen[text] = str(Price.fromstring(text).amount)
    print(f"{text}: {seen[text]}")
if seen != EXPECTED:
    sys.exit("The behaviour has changed.")
EOF
python program.py
