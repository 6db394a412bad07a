#!/usr/bin/env bash
# Expected: the number 0.1 of a Jsonnet file is 0.1 in the JSON that is made of it, as every JSON
# library writes it.
# Seen: the C++ implementation and its Python package write 17 digits: 0.10000000000000001. "v" +
# 1.15 is "v1.1499999999999999", so a text, a label or the name of an image has these digits too.
# Integers, 0.5 and 0.25 stay. %g and %.2f write what you expect.
# It matters for manifests: a version or a tag that is made of a number is wrong, and each number
# differs from the file that another tool writes.
# jsonnet 0.22.0; https://jsonnet.org/ref/stdlib.html
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'jsonnet==0.22.0'
python --version
pip freeze

cat >program.py <<'EOF'
import json
import sys

import _jsonnet

PROGRAM = """{
  price: 0.1, weight: 0.7, half: 0.5, whole: 3,
  tag: "v" + 1.15, shown: "v%g" % 1.15, read: std.parseJson("1.15") + "",
}"""
text = _jsonnet.evaluate_snippet("pie.jsonnet", PROGRAM)
print(text)
seen = [line.strip().rstrip(",") for line in text.splitlines()][1:-1]
EXPECTED = [
    '"half": 0.5',
    '"price": 0.10000000000000001',
    '"read": "1.1499999999999999"',
    '"shown": "v1.15"',
    '"tag": "v1.1499999999999999"',
    '"weight": 0.69999999999999996',
    '"whole": 3',
]
print("by Python:", json.dumps({"price": 0.1, "tag": "v" + str(1.15)}))
if seen != EXPECTED:
    sys.exit("The behaviour has changed.")
EOF
python program.py
