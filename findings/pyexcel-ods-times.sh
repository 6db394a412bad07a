#!/usr/bin/env bash
# Expected: pyexcel-ods writes a datetime as a cell of the type "date", which holds dates with and
# without times, and None as an empty cell.
# Seen: the cell has the type "datetime" and an attribute office:value, as no version of
# OpenDocument defines it. pyexcel-ods itself reads the text '2024-01-01 10:00:00', and pandas
# raises ValueError: Unrecognized type datetime. Dates are right. For None it raises AttributeError:
# 'NoneType' object has no attribute 'split'; an empty string works.
# It matters for exports of database rows, which have times and NULL: other programs refuse the
# file, or treat its times as texts, which can't be compared with dates.
# pyexcel-ods 0.6.0, read with pandas 2.3.3; ODS_WRITE_FORMAT_COVERSION in the package pyexcel-io;
# https://docs.oasis-open.org/office/OpenDocument/v1.3/os/part3-schema/
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'pyexcel-ods==0.6.0' 'odfpy==1.4.1' 'pandas==2.3.3'
python --version
pip freeze

cat >program.py <<'EOF'
import datetime
import sys
import zipfile

import pandas
import pyexcel_ods

VALUES = [
    datetime.date(2024, 1, 1),
    datetime.datetime(2024, 1, 1, 10),
    "",
    None,
]
seen = []
for value in VALUES:
    try:
        pyexcel_ods.save_data("sheet.ods", {"sheet": [[value, "end"]]})
        own = pyexcel_ods.get_data("sheet.ods")["sheet"][0][0]
        pandas.read_excel("sheet.ods", header=None)
        error = None
    except (AttributeError, ValueError) as raised:
        error = str(raised)
    content = zipfile.ZipFile("sheet.ods").read("content.xml").decode()
    kind = content.partition('value-type="')[2].partition('"')[0]
    print(repr(value), "| type", kind, "| read", repr(own), "| error", error)
    seen.append(error)
if seen != [
    None,
    "Unrecognized type datetime",
    None,
    "'NoneType' object has no attribute 'split'",
]:
    sys.exit("The behaviour has changed.")
EOF
python program.py
