#!/usr/bin/env bash
# Expected: petl's selectlt(table, "price", 2) gives the rows whose price is less than 2, as SQL
# does, or raises an exception for a row without one.
# Seen: None is less than each number, so rows without a price are selected. Texts are greater than
# each number, so "n/a" and "1" are in selectgt(table, "price", 2). True equals 1.
# It matters for cleaning data, the purpose of the library: CSV files have texts until they are
# converted, and every row is "greater".
# petl 1.7.30; Comparable in the package's petl/comparison.py
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'petl==1.7.30'
python --version
pip freeze

cat >program.py <<'EOF'
import sys

import petl

TABLE = [["name", "price"], ["a", 1], ["b", None], ["c", "n/a"], ["d", "1"], ["e", 5]]
seen = {
    "less than 2": [row[0] for row in petl.data(petl.selectlt(TABLE, "price", 2))],
    "greater than 2": [row[0] for row in petl.data(petl.selectgt(TABLE, "price", 2))],
    "in order": [row[0] for row in petl.data(petl.sort(TABLE, "price"))],
}
print(*seen.items(), sep="\n")
EXPECTED = {
    "less than 2": ["a", "b"],
    "greater than 2": ["c", "d", "e"],
    "in order": ["b", "a", "e", "d", "c"],
}
if seen != EXPECTED:
    sys.exit("The behaviour has changed.")
EOF
python program.py
