#!/usr/bin/env bash
# Expected: for a number that is too long for its field in a shapefile, pyshp raises an exception,
# or warns of a loss of data, as it does for a text that is too long.
# Seen: it cuts off the last digits. In a field of nine digits, 2,147,483,648 becomes 214,748,364
# without a warning, a tenth of it. 123456 in a field of five digits is 12345, and 12345.67 in (6,
# 2) is 12345. A decimal number in a field without decimals is cut and not rounded: 1.9 becomes 1.
# It matters for populations, areas in square metres and identifiers of parcels: most values fit and
# are right, and the largest ones are the smallest afterwards. An identifier becomes another's.
# pyshp 3.1.6; https://github.com/GeospatialPython/pyshp
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'pyshp==3.1.6'
python --version
pip freeze

cat >program.py <<'EOF'
import io
import sys
import warnings

import shapefile

warnings.simplefilter("always")
CASES = [
    (("N", 9), 2_147_483),
    (("N", 9), 2_147_483_648),
    (("N", 5), 123456),
    (("N", 6, 2), 12345.67),
    (("N", 9), 1.9),
    (("C", 5), "cinnamon"),
]
seen = []
for field, value in CASES:
    files = {name: io.BytesIO() for name in ("shp", "shx", "dbf")}
    with warnings.catch_warnings(record=True) as caught:
        with shapefile.Writer(**files) as writer:
            writer.field("value", *field)
            writer.point(8.5, 47.25)
            writer.record(value)
    with shapefile.Reader(shp=files["shp"], dbf=files["dbf"]) as reader:
        (result,) = reader.record(0)
    print(f"{value!r} in a field of {field}: {result!r}, {len(caught)} warnings")
    seen.append((result, len(caught)))
if seen != [(2_147_483, 0), (214_748_364, 0), (12345, 0), (12345.0, 0), (1, 0), ("cinna", 1)]:
    sys.exit("The behaviour has changed.")
EOF
python program.py
