#!/usr/bin/env bash
# Expected: a schema whose $schema names draft 2020-12 is checked by its rules, or refused.
# Seen: fastjsonschema supports drafts 4, 6 and 7. Every other $schema is compiled as draft 7,
# without an error or a warning, so prefixItems, dependentRequired, minContains and keywords beside
# $ref are ignored, and invalid data is valid.
# It matters for OpenAPI 3.1 and for the schemas that pydantic and msgspec write, which are 2020-12:
# who replaces a slow validator by a fast one validates less. fastjsonschema 2.22.3, beside
# jsonschema 4.26.0; https://json-schema.org/draft/2020-12/json-schema-core#section-8.1.1
# https://github.com/horejsek/python-fastjsonschema/blob/master/fastjsonschema/__init__.py
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'fastjsonschema==2.22.3' 'jsonschema==4.26.0'
python --version
pip freeze

cat >program.py <<'EOF'
import sys

import fastjsonschema
import jsonschema

DRAFT = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
CASES = (
    ({"prefixItems": [{"type": "string"}]}, [1]),
    ({"dependentRequired": {"card": ["address"]}}, {"card": "4111"}),
    ({"contains": {"type": "integer"}, "minContains": 2}, [1]),
    ({"$ref": "#/$defs/name", "minLength": 3, "$defs": {"name": {"type": "string"}}}, "ab"),
    ({"type": "string"}, 1),
)
seen = []
for schema, value in CASES:
    row = []
    for validate in (
        fastjsonschema.compile(DRAFT | schema),
        lambda one, schema=schema: jsonschema.validate(one, DRAFT | schema),
    ):
        try:
            validate(value)
            row.append("valid")
        except (fastjsonschema.JsonSchemaException, jsonschema.ValidationError):
            row.append("invalid")
    print([*schema][-1 if "$ref" not in schema else 0], value, "| fastjsonschema, jsonschema:", row)
    seen.append(row)
if seen != [["valid", "invalid"]] * 4 + [["invalid", "invalid"]]:
    sys.exit("The behaviour has changed.")
EOF
python program.py
