#!/usr/bin/env bash
# Expected: a field N(18,0) of a dBase file, which holds digits, takes each integer of 18 digits.
# Seen: dbf turns the integer into a float, so 123456789012345678 is stored as 123456789012345680,
# and 999999999999999999 raises DataOverflowError, "Integer portion too big". From 9007199254740993
# on numbers change, without a warning. A field C(18) keeps the digits.
# It matters for account numbers, barcodes and parcel identifiers: the stored number belongs to
# another record or to none.
# dbf 0.99.11, read with dbfread 2.0.7; update_numeric in the package's dbf/tables.py;
# https://www.clicketyclick.dk/databases/xbase/format/data_types.html
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'dbf==0.99.11' 'dbfread==2.0.7'
python --version
pip freeze

cat >program.py <<'EOF'
import sys

import dbf
import dbfread

NUMBERS = [2**53, 2**53 + 1, 123_456_789_012_345_678, 999_999_999_999_999_999]
seen = {}
for number in NUMBERS:
    table = dbf.Table("numbers.dbf", "number N(18,0); text C(18)", dbf_type="db3")
    table.open(dbf.READ_WRITE)
    try:
        table.append((number, str(number)))
    except dbf.DataOverflowError as error:
        seen[number] = str(error)
    table.close()
    if number not in seen:
        (record,) = dbfread.DBF("numbers.dbf")
        seen[number] = record["NUMBER"]
    print(number, "->", seen[number], "| text", record["TEXT"])
*values, error = seen.values()
if values != [2**53, 2**53, 123_456_789_012_345_680] or "too big" not in error:
    sys.exit("The behaviour has changed.")
EOF
python program.py
