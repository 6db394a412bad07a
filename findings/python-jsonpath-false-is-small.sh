#!/usr/bin/env bash
# Expected: two implementations of RFC 9535 select the same records: false <= 5 is false, since the
# two have different types.
# Seen: python-jsonpath orders true and false as 1 and 0. [?@.price <= 5] finds records whose price
# is false. false == 0 is false in both. jsonpath-rfc9535, by the same author, finds the numbers
# only.
# It matters for data in which false means "none": an alarm for low values goes off for each record
# without one.
# python-jsonpath 2.2.2, jsonpath-rfc9535 1.0.1; RFC 9535, section 2.3.5.2.2
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'python-jsonpath==2.2.2' 'jsonpath-rfc9535==1.0.1'
python --version
pip freeze

cat >program.py <<'EOF'
import sys

import jsonpath
import jsonpath_rfc9535

PIES = [{"price": 3}, {"price": False}, {"price": True}, {"price": 7}, {"price": None}]
seen = {}
for query in "$[?@.price <= 5]", "$[?@.price < 1]", "$[?@.price == 0]":
    found = [pie["price"] for pie in jsonpath.findall(query, PIES)]
    other = [node.value["price"] for node in jsonpath_rfc9535.find(query, PIES)]
    seen[query] = (repr(found), repr(other))
    print(query, "python-jsonpath: {}, jsonpath-rfc9535: {}".format(*seen[query]))
EXPECTED = {
    "$[?@.price <= 5]": ("[3, False, True]", "[3]"),
    "$[?@.price < 1]": ("[False]", "[]"),
    "$[?@.price == 0]": ("[]", "[]"),
}
if seen != EXPECTED:
    sys.exit("The behaviour has changed.")
EOF
python program.py
