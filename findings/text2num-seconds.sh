#!/usr/bin/env bash
# Expected: words for numbers become digits, and "a thirty second delay" becomes "a 30 second
# delay", as "a ten second delay" does.
# Seen: text2num reads "thirty second" as an ordinal: "a 32nd delay". Years lose their form as well:
# "nineteen eighty four" is "19 84", but "two thousand and twenty four" is "2024".
# It matters for transcripts of speech, its main use: times of half a minute are the most common
# ones in instructions, and the text doesn't show that anything is missing.
# text2num 3.1.0; https://github.com/allo-media/text2num
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'text2num==3.1.0'
python --version
pip freeze

cat >program.py <<'EOF'
import sys

from text_to_num import alpha2digit

EXPECTED = {
    "wait for a ten second delay": "wait for a 10 second delay",
    "wait for a thirty second delay": "wait for a 32nd delay",
    "in nineteen eighty four": "in 19 84",
    "in two thousand and twenty four": "in 2024",
    "twenty one pies": "21 pies",
}
seen = {text: alpha2digit(text, "en") for text in EXPECTED}
print(*seen.items(), sep="\n")
if seen != EXPECTED:
    sys.exit("The behaviour has changed.")
EOF
python program.py
