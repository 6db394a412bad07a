#!/usr/bin/env bash
# Expected: a table with a column of 8-bit integers is the same after it is written to a FITS file
# and read, as tables with 16 and 32 bits are, or writing it is an error.
# Seen: astropy writes int8 as the type L, logical. 1, 2, 3 and 5 come back as True, without a
# warning. uint8 stays.
# It matters for flags, classes and magnitudes that were stored in the smallest type to save space:
# the values are lost, and the file looks healthy.
# astropy 8.0.2; https://docs.astropy.org/en/stable/io/fits/usage/table.html (data types of columns)
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'astropy==8.0.2'
python --version
pip freeze

cat >program.py <<'EOF'
import io
import sys
import warnings

import numpy
from astropy.table import Table

warnings.simplefilter("error")
seen = {}
for kind in "int8", "uint8", "int16":
    values = numpy.array([1, 2, 3, 5], dtype=kind)
    file = io.BytesIO()
    Table({"class": values}).write(file, format="fits")
    file.seek(0)
    column = Table.read(file, format="fits")["class"]
    seen[kind] = (column.dtype.name, column.tolist())
    print(kind, *seen[kind])
EXPECTED = {
    "int8": ("bool", [True, True, True, True]),
    "uint8": ("uint8", [1, 2, 3, 5]),
    "int16": ("int16", [1, 2, 3, 5]),
}
if seen != EXPECTED:
    sys.exit("The behaviour has changed.")
EOF
python program.py
