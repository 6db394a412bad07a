#!/usr/bin/env bash
# Expected: the Soundex code of a name has a letter and three digits, and a letter with the same
# code as the first one beside it is left out: Pfister is P236, as in the rules of the US National
# Archives.
# Seen: pyphonetics keeps the second letter: Pfister is P123, Schmit S253 in place of S530, Lloyd
# L430 in place of L300. phonetics neither leaves out vowels, which are zeros, nor shortens codes:
# Pfister is P102306. jellyfish has the right codes.
# It matters for searches in a register that was coded by another program: the name isn't found.
# pyphonetics 0.5.3, phonetics 1.0.5, jellyfish 1.3.0;
# https://www.archives.gov/research/census/soundex
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check \
    'pyphonetics==0.5.3' 'phonetics==1.0.5' 'jellyfish==1.3.0'
python --version
pip freeze

cat >program.py <<'EOF'
import sys

import jellyfish
import phonetics
import pyphonetics

RULE = {"Pfister": "P236", "Schmit": "S530", "Lloyd": "L300", "Robert": "R163", "Ashcraft": "A261"}
seen = {}
for name, code in RULE.items():
    seen[name] = [pyphonetics.Soundex().phonetics(name), phonetics.soundex(name)]
    print(f"{name}: rule {code}, jellyfish {jellyfish.soundex(name)},", end=" ")
    print("pyphonetics {}, phonetics {}".format(*seen[name]))
    if jellyfish.soundex(name) != code:
        sys.exit("The behaviour of jellyfish has changed.")
if seen != {
    "Pfister": ["P123", "P102306"],
    "Schmit": ["S253", "S20503"],
    "Lloyd": ["L430", "L403"],
    "Robert": ["R163", "R01063"],
    "Ashcraft": ["A261", "A2026013"],
}:
    sys.exit("The behaviour has changed.")
EOF
python program.py
