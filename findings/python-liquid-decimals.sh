#!/usr/bin/env bash
# Expected: a filter of Liquid calculates with each number, and `round` rounds half away from zero,
# as in Shopify's Liquid: 2.5 becomes 3.
# Seen: for python-liquid, a Decimal is 0 as soon as a filter touches it, though `{{ price }}`
# prints it. No exception follows. With floats, 2.5 becomes 2 and 0.125 with two places 0.12,
# because Python's round() goes to the even digit.
# It matters because Django's and SQLAlchemy's columns for money are Decimals: a total is 0.
# python-liquid 2.3.6; https://shopify.github.io/liquid/filters/round/ and
# https://docs.ruby-lang.org/en/3.4/Float.html#method-i-round
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'python-liquid==2.3.6'
python --version
pip freeze

cat >program.py <<'EOF'
import decimal
import sys

import liquid

EXPECTED = {
    "{{ price }}": "1.50",
    "{{ price | times: 2 }}": "0",
    "{{ price | plus: 1 }}": "1",
    "{{ price | round: 1 }}": "0",
    "{{ 1.5 | times: 2 }}": "3.0",
    "{{ 2.5 | round }}": "2",
    "{{ 3.5 | round }}": "4",
    "{{ 0.125 | round: 2 }}": "0.12",
}
price = decimal.Decimal("1.50")
seen = {text: liquid.parse(text).render(price=price) for text in EXPECTED}
for text, result in seen.items():
    print(text, "is", result)
if seen != EXPECTED:
    sys.exit("The behaviour has changed.")
EOF
python program.py
