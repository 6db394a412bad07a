#!/usr/bin/env bash
# Expected: in a field that is a date or a time stamp, a datetime is written as a time stamp,
# whichever of both the schema lists first.
# Seen: fastavro writes it as a date if the schema lists the date first, because a Python datetime
# is a date, too. The time of day is lost without an error. The other library, avro, writes it as a
# time stamp then, but raises a TypeError if the time stamp is first. So no schema works with both.
# It matters for schemas that come from elsewhere: their order says nothing about the values.
# fastavro 1.13.1, avro 1.12.2; https://avro.apache.org/docs/1.12.0/specification/#logical-types
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'fastavro==1.13.1' 'avro==1.12.2'
python --version
pip freeze

cat >program.py <<'EOF'
import datetime
import io
import json
import sys

import avro.datafile
import avro.io
import avro.schema
import fastavro

DATE = {"type": "int", "logicalType": "date"}
STAMP = {"type": "long", "logicalType": "timestamp-millis"}
MOMENT = datetime.datetime(2024, 3, 5, 14, 30, tzinfo=datetime.UTC)


def by_fastavro(schema, record):
    file = io.BytesIO()
    fastavro.writer(file, fastavro.parse_schema(schema), [record])
    file.seek(0)
    return [*fastavro.reader(file)]


def by_avro(schema, record):
    file = io.BytesIO()
    writer = avro.datafile.DataFileWriter(
        file, avro.io.DatumWriter(), avro.schema.parse(json.dumps(schema))
    )
    writer.append(record)
    writer.flush()
    file.seek(0)
    return [*avro.datafile.DataFileReader(file, avro.io.DatumReader())]


seen = {}
for name, union in {"date first": [DATE, STAMP], "time stamp first": [STAMP, DATE]}.items():
    schema = {"type": "record", "name": "Pie", "fields": [{"name": "baked", "type": union}]}
    for write in (by_fastavro, by_avro):
        try:
            [record] = write(schema, {"baked": MOMENT})
            result = str(record["baked"])
        except TypeError as error:
            result = f"TypeError: {error}"
        seen[name, write.__name__] = result.partition(":")[0] if "Error" in result else result
        print(f"{name}, {write.__name__}: {result}")
if seen != {
    ("date first", "by_fastavro"): "2024-03-05",
    ("date first", "by_avro"): "2024-03-05 14:30:00+00:00",
    ("time stamp first", "by_fastavro"): "2024-03-05 14:30:00+00:00",
    ("time stamp first", "by_avro"): "TypeError",
}:
    sys.exit("The behaviour has changed.")
EOF
python program.py
