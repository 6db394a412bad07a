#!/usr/bin/env bash
# Expected: two JSON-LD processors make the same RDF triples of one document.
# Seen: of {"price": 10.0} PyLD makes "10" with the type xsd:integer, as JSON-LD 1.1 requires for a
# number without a fraction, and rdflib "10.0" with xsd:double. Of 5 with the declared type
# xsd:double they make "5.0E0" and "5", and of 5.5 "5.5E0" and "5.5".
# It matters because 10.0 and 10 are one number in JSON, and JavaScript writes 10.0 as 10: a
# document that passes through a browser becomes another graph in rdflib. Hashes of the graph, its
# difference to a stored one and a SPARQL query for the exact literal disagree between the two
# libraries.
# rdflib 7.6.0, PyLD 3.3.0; https://www.w3.org/TR/json-ld11-api/#object-to-rdf-conversion (steps 10
# and 11); https://github.com/RDFLib/rdflib/blob/main/rdflib/plugins/parsers/jsonld.py
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'rdflib==7.6.0' 'PyLD==3.3.0'
python --version
pip freeze

cat >program.py <<'EOF'
import json
import sys

import rdflib
from pyld import jsonld

CONTEXT = {
    "@vocab": "http://example.com/",
    "weight": {"@type": "http://www.w3.org/2001/XMLSchema#double"},
}
seen = []
for values in {"price": 10.0}, {"price": 10}, {"price": 5.5}, {"weight": 5}:
    document = {"@context": CONTEXT, "@id": "http://example.com/pie", **values}
    pyld = jsonld.to_rdf(document, {"format": "application/n-quads"})
    graph = rdflib.Graph().parse(data=json.dumps(document), format="json-ld")
    literals = [
        text.split()[2].replace("http://www.w3.org/2001/XMLSchema#", "xsd:")
        for text in (pyld, graph.serialize(format="nt"))
    ]
    print(json.dumps(values), "| PyLD:", literals[0], "| rdflib:", literals[1])
    seen.append(literals)
if seen != [
    ['"10"^^<xsd:integer>', '"10.0"^^<xsd:double>'],
    ['"10"^^<xsd:integer>', '"10"^^<xsd:integer>'],
    ['"5.5E0"^^<xsd:double>', '"5.5"^^<xsd:double>'],
    ['"5.0E0"^^<xsd:double>', '"5"^^<xsd:double>'],
]:
    sys.exit("The behaviour has changed.")
EOF
python program.py
