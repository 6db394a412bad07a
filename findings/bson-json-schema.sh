#!/usr/bin/env bash
# Expected: a document that is encoded and decoded with bson is the same: dicts are dicts again.
# Seen: a dict with both "$ref" and "$id" becomes a DBRef, at any depth and whatever their values
# are.
# It matters because these are two keywords of JSON Schema. A schema that refers to another and has
# an identifier is stored in MongoDB, and what comes back isn't a dict: validators raise exceptions,
# and json.dumps() a TypeError. Only schemas with both keywords in one object are affected, so most
# pass. DBRef.as_doc() restores the dict.
# pymongo 4.20.1 (bson); https://json-schema.org/draft/2020-12/json-schema-core#section-8.2;
# https://www.mongodb.com/docs/manual/reference/database-references/#dbrefs
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'pymongo==4.20.1'
python --version
pip freeze

cat >program.py <<'EOF'
import json
import sys

import bson

SCHEMAS = {
    "only $ref": {"type": "object", "properties": {"pie": {"$ref": "#/$defs/pie"}}},
    "only $id": {"$id": "https://example.com/pies", "type": "object"},
    "both": {"$id": "https://example.com/tarts", "$ref": "https://example.com/pies"},
    "both, inside": {"properties": {"a": {"$id": "#a", "$ref": "#/$defs/pie", "title": "A"}}},
}
seen = {}
for name, schema in SCHEMAS.items():
    result = bson.decode(bson.encode({"schema": schema}))["schema"]
    try:
        seen[name] = json.dumps(result) == json.dumps(schema)
    except TypeError as error:
        seen[name] = str(error)
    print(f"{name}: {result!r} | {seen[name]}")
error = "Object of type DBRef is not JSON serializable"
if [*seen.values()] != [True, True, error, error]:
    sys.exit("The behaviour has changed.")
EOF
python program.py
