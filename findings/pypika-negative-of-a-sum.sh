#!/usr/bin/env bash
# Expected: the SQL of an expression has the expression's meaning: -(t.a + t.b) keeps its
# parentheses, as (t.a + t.b) * 2 and t.a - (t.b + 1) do, and t.c == None is "c" IS NULL, as for
# SQLAlchemy and peewee.
# Seen: the negative of a sum is -"a"+"b", so for 1 and 2 it is 1 and not -3. The comparison is
# "c"=null, which is never true, and t.c != None is never true either. No row is found, and nothing
# is raised. t.c.isnull() works.
# It matters for balances and for optional filters: the wrong sign only shows in the numbers, and a
# query for missing values is empty.
# pypika 0.51.1; Negative.get_sql in the package's pypika/terms.py
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'pypika==0.51.1'
python --version
pip freeze

cat >program.py <<'EOF'
import sqlite3
import sys

from pypika import Query, Table

t = Table("t")
EXPRESSIONS = {
    "(a + b) * 2": Query.from_(t).select((t.a + t.b) * 2),
    "-(a + b)": Query.from_(t).select(-(t.a + t.b)),
    "c == None": Query.from_(t).select("a").where(t.c == None),  # noqa: E711
    "c.isnull()": Query.from_(t).select("a").where(t.c.isnull()),
}
database = sqlite3.connect(":memory:")
database.execute("create table t (a, b, c)")
database.execute("insert into t values (1, 2, null)")
seen = {}
for name, query in EXPRESSIONS.items():
    row = database.execute(query.get_sql()).fetchone()
    seen[name] = row and row[0]
    print(f"{name}: {query.get_sql()} -> {seen[name]}")
if seen != {
    "(a + b) * 2": 6,
    "-(a + b)": 1,
    "c == None": None,
    "c.isnull()": 1,
}:
    sys.exit("The behaviour has changed.")
EOF
python program.py
