#!/usr/bin/env bash
# Expected: in SPARQL, `?n IN (6.0)` is `?n = 6.0` (17.4.1.9), and the fourth argument of REPLACE
# has flags, so "i" replaces letters in either case (17.4.3.15).
# Seen: for rdflib, 6 = 6.0 is true and 6 IN (6.0) is false, 6 NOT IN (6.0) is true. The flag "i" of
# REPLACE has no effect, while REGEX obeys it.
# It matters because both forms are read as the same: a filter with two allowed values finds
# nothing, and a clean-up replaces half of the texts.
# rdflib 7.6.0; https://www.w3.org/TR/sparql11-query/#func-in and
# https://www.w3.org/TR/sparql11-query/#func-replace
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'rdflib==7.6.0'
python --version
pip freeze

cat >program.py <<'EOF'
import sys

import rdflib

EXPECTED = {
    "6 = 6.0": "true",
    "6 IN (6.0)": "false",
    "6 NOT IN (6.0)": "true",
    'REGEX("Pie and pie", "PIE", "i")': "true",
    'REPLACE("Pie and pie", "PIE", "cake", "i")': "Pie and pie",
    'REPLACE("Pie and pie", "Pie", "cake", "i")': "cake and pie",
}
graph = rdflib.Graph()
seen = {}
for text in EXPECTED:
    [row] = graph.query(f"SELECT ({text} AS ?x) {{}}")
    seen[text] = str(row.x)
    print(text, "is", seen[text])
if seen != EXPECTED:
    sys.exit("The behaviour has changed.")
EOF
python program.py
