#!/usr/bin/env bash
# Expected: a library that computes sentences reads "fifty five squared" as 55 squared, as it reads
# "fifty five plus one" as 56.
# Seen: mathparse squares only the last word, and forgets the first: fifty five squared is 25,
# twenty one cubed is 1. "one hundred squared" raises an exception, "ten squared" is right. With
# digits, "-2 ^ 2" is 4, and "5 - 2 ^ 2" is 1.
# It matters for voice assistants and chat bots, which answer with a number that looks like a
# result.
# mathparse 0.2.9; https://github.com/gunthercox/mathparse
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'mathparse==0.2.9'
python --version
pip freeze

cat >program.py <<'EOF'
import sys

from mathparse.mathparse import PostfixTokenEvaluationException, parse

EXPECTED = {
    "fifty five plus one": 56,
    "ten squared": 100,
    "fifty five squared": 25,
    "twenty one cubed": 1,
    "one hundred plus two squared": 104,
    "one hundred squared": "PostfixTokenEvaluationException",
}
seen = {}
for text in EXPECTED:
    try:
        seen[text] = parse(text, "ENG")
    except PostfixTokenEvaluationException as error:
        seen[text] = type(error).__name__
    print(text, "is", seen[text])
powers = parse("-2 ^ 2"), parse("5 - 2 ^ 2")
print("-2 ^ 2 and 5 - 2 ^ 2 are", *powers)
if seen != EXPECTED or powers != (4, 1):
    sys.exit("The behaviour has changed.")
EOF
python program.py
