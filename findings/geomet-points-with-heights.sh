#!/usr/bin/env bash
# Expected: geomet reads "POINT Z (1 2 3)", the form of the OGC's standard since 2006, and words in
# small letters.
# Seen: it raises a ValueError for both. It reads and writes "POINT (1 2 3)". PostGIS and Shapely
# write the letter Z. Numbers are written with 16 decimals: 1e-20 becomes 0.0000000000000000, and 1
# gets 16 zeros.
# It matters for importers: they work for all data without heights, and the first survey with them
# fails.
# geomet 1.1.0, beside shapely 2.2.0; OGC 06-103r4, section 7.2.2
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'geomet==1.1.0' 'shapely==2.2.0'
python --version
pip freeze

cat >program.py <<'EOF'
import sys

import shapely
from geomet import wkt

TEXTS = (
    "POINT (1 2 3)",
    shapely.Point(1, 2, 3).wkt,
    "point (1 2)",
)
seen = {}
for text in TEXTS:
    try:
        seen[text] = wkt.loads(text)["coordinates"]
    except ValueError as error:
        seen[text] = str(error)
seen["1e-20 1"] = wkt.dumps({"type": "Point", "coordinates": [1e-20, 1]})
print(*seen.items(), sep="\n")
EXPECTED = {
    "POINT (1 2 3)": [1.0, 2.0, 3.0],
    "POINT Z (1 2 3)": "Invalid WKT: `POINT Z (1 2 3)`",
    "point (1 2)": "Unsupported geometry type 'point'",
    "1e-20 1": "POINT (0.0000000000000000 1.0000000000000000)",
}
if seen != EXPECTED:
    sys.exit("The behaviour has changed.")
EOF
python program.py
