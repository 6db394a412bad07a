#!/usr/bin/env bash
# Expected: singular_noun() returns False for a word that is singular already, as its docstring
# says, so that a program can test whether a word is a plural.
# Seen: this holds for horse, class and status. Other singular words that end with s lose it: bus is
# bu, gas ga, lens len, virus viru, campus campu, analysis analysi, basis basi. Their plurals are
# known: buses gives bus, and the plural of analysis is analyses.
# It matters for names of tables, routes and classes that are made from words: /bus/7 belongs to the
# model Bu, and "1 gas" in a text becomes "1 ga".
# inflect 7.6.0; the docstring of engine.singular_noun in the package's inflect/__init__.py
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'inflect==7.6.0'
python --version
pip freeze

cat >program.py <<'EOF'
import sys

import inflect

EXPECTED = {
    "horse": False,
    "class": False,
    "status": False,
    "buses": "bus",
    "bus": "bu",
    "gas": "ga",
    "lens": "len",
    "virus": "viru",
    "campus": "campu",
    "analysis": "analysi",
    "basis": "basi",
}
words = inflect.engine()
seen = {word: words.singular_noun(word) for word in EXPECTED}
print(*(f"{word}: {result}" for word, result in seen.items()), sep="\n")
if seen != EXPECTED:
    sys.exit("The behaviour has changed.")
EOF
python program.py
