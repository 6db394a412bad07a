#!/usr/bin/env bash
# Expected: agate, which csvkit is built on, reads a column of words as text, unless each of them
# is a whole date, a number or a truth value.
# Seen: the days "Monday" and "Friday" become dates in January of the year 1, and "May" and "June"
# become the first days of these months in that year. The sizes "3/4" and "1/2" become days in
# March and January of 2001. A column of only 1 and 0 becomes True and False. Other columns of
# words, such as "noon" and "night", stay text.
# It matters for tables of opening hours or sizes: the output has dates that nobody entered, until
# one row has another word.
# agate 1.14.2, parsedatetime 2.6; https://agate.readthedocs.io/en/latest/api/data_types.html
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'agate==1.14.2' 'parsedatetime==2.6'
python --version
pip freeze

cat >program.py <<'EOF'
import io
import sys

import agate

COLUMNS = {
    "day": ("Monday", "Friday"),
    "month": ("May", "June"),
    "size": ("3/4", "1/2"),
    "sold": ("1", "0"),
    "time": ("noon", "night"),
    "mixed": ("Monday", "holiday"),
}
seen = {}
for name, values in COLUMNS.items():
    table = agate.Table.from_csv(io.StringIO("\n".join([name, *values, ""])))
    output = io.StringIO()
    table.to_csv(output)
    seen[name] = output.getvalue().split()[1:]
    print(f"{name}: {values} become {seen[name]}")
if seen != {
    "day": ["0001-01-08", "0001-01-05"],
    "month": ["0001-05-01", "0001-06-01"],
    "size": ["2001-03-04", "2001-01-02"],
    "sold": ["True", "False"],
    "time": ["noon", "night"],
    "mixed": ["Monday", "holiday"],
}:
    sys.exit("The behaviour has changed.")
EOF
python program.py
