#!/usr/bin/env bash
# Expected: the English stemmer gives one stem for "baker's", with whichever apostrophe, and for
# "running" and "RUNNING", or leaves capitals as they are.
# Seen: with the apostrophe of typesetting, baker’s becomes "baker’", and the other form "baker".
# "Running" loses its ending, "RUNNING" keeps it, so a text is stemmed in part.
# It matters for searches: word processors, phones and newspapers write ’, people in search fields
# type ', and headlines in capitals aren't found. You have to lower and replace before stemming.
# snowballstemmer 3.1.1; https://snowballstem.org/algorithms/english/stemmer.html
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'snowballstemmer==3.1.1'
python --version
pip freeze

cat >program.py <<'EOF'
import sys

import snowballstemmer

EXPECTED = {
    "baker's": "baker",
    "baker’s": "baker’",
    "running": "run",
    "Running": "Run",
    "RUNNING": "RUNNING",
}
stemmer = snowballstemmer.stemmer("english")
seen = {word: stemmer.stemWord(word) for word in EXPECTED}
print(*seen.items(), sep="\n")
if seen != EXPECTED:
    sys.exit("The behaviour has changed.")
EOF
python program.py
