#!/usr/bin/env bash
# Expected: an SQL query that is parsed and formatted again finds the same rows.
# Seen: mo-sql-parsing's format drops the parentheses behind NOT: `NOT (a AND b)` becomes `NOT a AND
# b`, and `NOT (a OR b)` becomes `NOT a OR b`. In sums and products they stay. -(a + b) becomes
# NEG(a + b), which no database knows.
# It matters for programs that add a condition or a limit to a query: rows that were excluded are
# part of the result.
# mo-sql-parsing 11.699.26234; https://github.com/klahnakoski/mo-sql-parsing
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'mo-sql-parsing==11.699.26234'
python --version
pip freeze

cat >program.py <<'EOF'
import sqlite3
import sys

from mo_sql_parsing import format, parse

database = sqlite3.connect(":memory:")
database.execute("CREATE TABLE pie (a, b)")
database.executemany("INSERT INTO pie VALUES (?, ?)", [(0, 0), (0, 1), (1, 0), (1, 1)])
EXPECTED = {
    "SELECT * FROM pie WHERE NOT (a AND b)": (3, "SELECT * FROM pie WHERE NOT a AND b", 1),
    "SELECT * FROM pie WHERE NOT (a OR b)": (1, "SELECT * FROM pie WHERE NOT a OR b", 3),
    "SELECT * FROM pie WHERE a - (b - a) = 2": (1, "SELECT * FROM pie WHERE a - (b - a) = 2", 1),
}
seen = {}
for query in EXPECTED:
    written = format(parse(query))
    before, after = (len(database.execute(text).fetchall()) for text in (query, written))
    seen[query] = (before, written, after)
    print(f"{query}: {before} rows; {written}: {after} rows")
if seen != EXPECTED:
    sys.exit("The behaviour has changed.")
EOF
python program.py
