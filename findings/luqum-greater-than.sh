#!/usr/bin/env bash
# Expected: luqum translates price:>5, which its parser knows as a range that is open at one end, to
# a range query of Elasticsearch, as price:[5 TO *], or raises an exception.
# Seen: it becomes a match query for the value 5, so of all prices only 5 is found. The parser gives
# a node From with include=False, and str() of the tree has the sign; only the builder has no method
# for such a node and visits what is within. price:<=5 is the same query.
# It matters for search fields that offer Lucene's syntax: a filter by price or date returns hits,
# which all agree with what was typed but one bound.
# luqum 1.0.0; From in the package's luqum/tree.py, and luqum/elasticsearch/visitor.py
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'luqum==1.0.0'
python --version
pip freeze

cat >program.py <<'EOF'
import sys

from luqum.elasticsearch import ElasticsearchQueryBuilder
from luqum.parser import parser

EXPECTED = {
    "price:5": {"match": "5"},
    "price:[5 TO *]": {"range": {"gte": "5"}},
    "price:>5": {"match": "5"},
    "price:<=5": {"match": "5"},
}
seen = {}
for text in EXPECTED:
    tree = parser.parse(text)
    ((kind, fields),) = ElasticsearchQueryBuilder()(tree).items()
    seen[text] = {kind: fields["price"]["query"] if kind == "match" else fields["price"]}
    print(f"{text}: {tree!r} is {kind} {fields}")
if seen != EXPECTED:
    sys.exit("The behaviour has changed.")
EOF
python program.py
