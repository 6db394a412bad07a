#!/usr/bin/env bash
# Expected: parse() turns "2.5 million people" into "2500000 people", as it turns "two million
# people" into "2000000 people", or leaves it.
# Seen: it becomes "2.5 1000000 people". A number in digits isn't part of a number, but the word
# behind it is one by itself: "5 hundred" is "5 100", "$3 billion" is "$3 1000000000", and "10
# thousand and five" is "10 1005". Articles and ordinals change as well: "a hundred" is "a 100",
# "the second floor" is "the 2 floor".
# It matters because newspapers and reports write large numbers like this: who extracts numbers from
# the result finds 2.5 and a million.
# number-parser 0.3.2; the docstring of parse in the package's number_parser/parser.py
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'number-parser==0.3.2'
python --version
pip freeze

cat >program.py <<'EOF'
import sys

from number_parser import parse

EXPECTED = {
    "two million people": "2000000 people",
    "2.5 million people": "2.5 1000000 people",
    "5 hundred": "5 100",
    "$3 billion": "$3 1000000000",
    "10 thousand and five": "10 1005",
    "a hundred people": "a 100 people",
    "the second floor": "the 2 floor",
}
seen = {text: parse(text) for text in EXPECTED}
print(*(f"{text!r} becomes {result!r}" for text, result in seen.items()), sep="\n")
if seen != EXPECTED:
    sys.exit("The behaviour has changed.")
EOF
python program.py
