#!/usr/bin/env bash
# Expected: with the logical type decimal and scale 2, Decimal("150") and Decimal("1.5") are written
# as 15000 and 150 hundredths and read as 150.00 and 1.50, as by fastavro.
# Seen: Apache's library writes the digits of the Decimal and forgets where its point is: 150 is
# read as 1.50, 1.5 as 0.15, and Decimal("1E+2") as 0.01. Only a value with exactly two decimals is
# right. One with three is refused, so decimals seem to be checked.
# It matters for amounts: those that come from a calculation or from a whole number are a tenth or a
# hundredth, and those from a text such as "12.50" are right.
# avro 1.12.2, beside fastavro 1.13.1; the package's avro/io.py, lines 553 to 565;
# https://avro.apache.org/docs/1.10.2/spec.html
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'avro==1.12.2' 'fastavro==1.13.1'
python --version
pip freeze

cat >program.py <<'EOF'
import io
import json
import sys
from decimal import Decimal

import avro.io
import avro.schema
import fastavro

SCHEMA = {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}
EXPECTED = {
    "12.50": ("12.50", "12.50"),
    "150": ("1.50", "150.00"),
    "1.5": ("0.15", "1.50"),
    "1E+2": ("0.01", "100.00"),
}


def with_avro(value):
    """Write and read a value with Apache's library."""
    schema = avro.schema.parse(json.dumps(SCHEMA))
    file = io.BytesIO()
    avro.io.DatumWriter(schema).write(value, avro.io.BinaryEncoder(file))
    file.seek(0)
    return avro.io.DatumReader(schema).read(avro.io.BinaryDecoder(file))


def with_fastavro(value):
    """Write and read a value with fastavro."""
    schema = fastavro.parse_schema(SCHEMA)
    file = io.BytesIO()
    fastavro.schemaless_writer(file, schema, value)
    file.seek(0)
    return fastavro.schemaless_reader(file, schema, None)


seen = {}
for text in EXPECTED:
    value = Decimal(text)
    seen[text] = str(with_avro(value)), str(with_fastavro(value))
    print(f"{text}: avro {seen[text][0]}, fastavro {seen[text][1]}")
if seen != EXPECTED:
    sys.exit("The behaviour has changed.")
EOF
python program.py
