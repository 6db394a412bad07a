#!/usr/bin/env bash
# Expected: in SPARQL, the product of two integers is an integer (17.3, from XPath's
# op:numeric-multiply), so BIND(2 * 3 AS ?n) finds the resource with the number 6.
# Seen: rdflib makes a decimal of each product. Its text is 6 as well, but as a term it isn't the
# integer 6, so the pattern with ?n finds nothing. A sum of integers is an integer and finds the
# resource.
# It matters for joins over calculated numbers, for example pages times size: there is no row and no
# error.
# rdflib 7.6.0; https://www.w3.org/TR/sparql11-query/#OperatorMapping
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

graph = rdflib.Graph()
graph.parse(data="@prefix : <http://example.com/> . :pie :slices 6 .", format="turtle")
seen = {}
for text in ("5 + 1", "7 - 1", "2 * 3"):
    [row] = graph.query(f"SELECT (DATATYPE({text}) AS ?x) {{}}")
    found = graph.query(f"SELECT ?s {{ BIND({text} AS ?n) ?s <http://example.com/slices> ?n }}")
    seen[text] = [row.x.rpartition("#")[2], len(found)]
    print(f"{text} is an xsd:{seen[text][0]} and finds {seen[text][1]} resources")
if seen != {"5 + 1": ["integer", 1], "7 - 1": ["integer", 1], "2 * 3": ["decimal", 0]}:
    sys.exit("The behaviour has changed.")
EOF
python program.py
