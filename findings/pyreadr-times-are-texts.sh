#!/usr/bin/env bash
# Expected: a column of times becomes POSIXct, the type of R for times, or at least a text with its
# zone.
# Seen: it is a column of texts such as "2024-01-01 10:00:00", without zone and fractions:
# 10:00+01:00, 10:00Z and 10:00:00.5Z are written as one text. Read with pyreadr, the column is a
# text, too. Numbers and booleans are kept.
# It matters for data that move between Python and R: as.POSIXct() takes the zone of the computer,
# so the times differ between two colleagues, and by hours from the original.
# pyreadr 0.5.8, read with rdata 1.1.0;
# https://github.com/ofajardo/pyreadr#what-objects-can-be-read-and-written
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'pyreadr==0.5.8' 'rdata==1.1.0' 'pandas==2.3.3'
python --version
pip freeze

cat >program.py <<'EOF'
import sys

import pandas
import pyreadr
import rdata

TIMES = ["2024-01-01T10:00:00Z", "2024-01-01T10:00:00.5Z", "2024-01-01T10:00:00+01:00"]
seen = []
for time in TIMES:
    frame = pandas.DataFrame({"time": [pandas.Timestamp(time)]})
    pyreadr.write_rds("times.rds", frame)
    values = [pyreadr.read_r("times.rds")[None], rdata.read_rds("times.rds")]
    for value in (one["time"].iloc[0] for one in values):
        print(time, frame["time"].dtype, "->", repr(value))
        seen.append(str(value))
pyreadr.write_rds("numbers.rds", pandas.DataFrame({"a": [1.5], "b": [True]}))
print(pyreadr.read_r("numbers.rds")[None].dtypes.to_dict())
if seen != ["2024-01-01 10:00:00"] * 6:
    sys.exit("The behaviour has changed.")
EOF
python program.py
