#!/usr/bin/env bash
# Expected: csv-diff reports a row that is in one file twice and in the other once.
# Seen: it reports nothing. Rows are kept in a dict by their hash or, with key=, by this column, so
# of equal rows one is left. With a key that occurs twice, the first of both rows isn't compared at
# all: a change from 8 to 1 hours is silent, too. Neither a warning nor an exception follows.
# It matters for time sheets, bank statements and orders, where two equal lines are two things: a
# payment that was exported twice, or lost, isn't found.
# csv-diff 1.2; load_csv in the package's csv_diff/__init__.py
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'csv-diff==1.2'
python --version
pip freeze

cat >program.py <<'EOF'
import io
import sys

from csv_diff import compare, human_text, load_csv

HEAD = "name,hours\n"
CASES = {
    "another row is gone": ("Anna,8\nBen,7\n", "Anna,8\n", None),
    "one of two equal rows is gone": ("Anna,8\nAnna,8\nBen,7\n", "Anna,8\nBen,7\n", None),
    "the first of two rows with one key": ("Anna,8\nAnna,3\n", "Anna,1\nAnna,3\n", "name"),
}
seen = {}
for name, (old, new, key) in CASES.items():
    rows = [load_csv(io.StringIO(HEAD + text), key=key) for text in (old, new)]
    seen[name] = human_text(compare(*rows)).partition("\n")[0]
    print(f"{name}: {seen[name] or 'no difference'}")
if seen != {
    "another row is gone": "1 row removed",
    "one of two equal rows is gone": "",
    "the first of two rows with one key": "",
}:
    sys.exit("The behaviour has changed.")
EOF
python program.py
