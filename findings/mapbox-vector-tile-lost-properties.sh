#!/usr/bin/env bash
# Expected: a feature's property that mapbox-vector-tile can't encode, such as a Decimal or a date,
# is an error.
# Seen: it is left out, without a warning: Decimals, dates, lists, and keys that aren't texts. A
# float that equals an integer of the same layer, such as 1.0 beside 1, becomes that integer, while
# 1.5 is a double: the type of a value depends on other features.
# It matters because rows of PostgreSQL have Decimals for prices and dates for days: the map has all
# its shapes, and the style that colours them by price shows nothing.
# mapbox-vector-tile 2.2.0; _handle_attr in the package's mapbox_vector_tile/encoder.py
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'mapbox-vector-tile==2.2.0'
python --version
pip freeze

cat >program.py <<'EOF'
import datetime
import sys
import warnings
from decimal import Decimal

import mapbox_vector_tile

warnings.simplefilter("error")
PROPERTIES = {
    "number": 1,
    "price": Decimal("1.50"),
    "day": datetime.date(2024, 1, 1),
    "sizes": [1, 2],
    "weight": 1.0,
    "length": 1.5,
    5: "five",
}
tile = mapbox_vector_tile.encode(
    [{"name": "pies", "features": [{"geometry": "POINT (1 2)", "properties": PROPERTIES}]}]
)
seen = mapbox_vector_tile.decode(tile)["pies"]["features"][0]["properties"]
seen = {name: repr(value) for name, value in seen.items()}
print("written:", PROPERTIES, "read:", seen, sep="\n")
EXPECTED = {"number": "1", "weight": "1", "length": "1.5"}
if seen != EXPECTED:
    sys.exit("The behaviour has changed.")
EOF
python program.py
