#!/usr/bin/env bash
# Expected: a price with two decimals that is rounded down to two decimals is the same price, as in
# Lodash, whose functions pydash follows: _.floor(4.35, 2) is 4.35.
# Seen: pydash multiplies by 100 first, so floor(4.35, 2) is 4.34 and floor(19.99, 2) is 19.98. Of
# the prices from 0.01 to 99.99, floor() takes a cent from 573, and ceil() adds one to as many, to
# 0.07 for example. round_() is right.
# It matters for fees and taxes that are rounded in one direction: six of a hundred amounts are a
# cent off. Amounts in whole numbers and most others are right.
# pydash 8.1.0; https://lodash.com/docs/4.17.15#floor;
# https://pydash.readthedocs.io/en/latest/api.html
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'pydash==8.1.0'
python --version
pip freeze

cat >program.py <<'EOF'
import sys

import pydash

prices = [cents / 100 for cents in range(1, 10000)]
seen = {}
for function in pydash.floor, pydash.ceil, pydash.round_:
    wrong = [price for price in prices if function(price, 2) != price]
    first = {price: function(price, 2) for price in wrong[:3]}
    seen[function.__name__] = len(wrong), first
    print(f"{function.__name__} changes {len(wrong)} of {len(prices)} prices:", first)
print("floor(4.35, 2) and floor(19.99, 2):", pydash.floor(4.35, 2), pydash.floor(19.99, 2))
if (pydash.floor(4.35, 2), pydash.floor(19.99, 2)) != (4.34, 19.98) or seen != {
    "floor": (573, {0.29: 0.28, 0.57: 0.56, 0.58: 0.57}),
    "ceil": (573, {0.07: 0.08, 0.14: 0.15, 0.28: 0.29}),
    "round_": (0, {}),
}:
    sys.exit("The behaviour has changed.")
EOF
python program.py
