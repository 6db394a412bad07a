#!/usr/bin/env bash
# Expected: decode(encode(data)) is the same GeoJSON, up to the six decimals that Geobuf keeps.
# Seen: a point keeps its height, so a first test passes. Lines, areas and sets of points lose it,
# since encode() writes two dimensions unless dim=3 is given. Properties with the value null are
# missing, and a feature without properties has no member "properties", which RFC 7946 requires.
# It matters for tracks and building models: the heights are lost without a warning, and the file is
# valid.
# geobuf 2.0.1; Encoder.encode in the package's geobuf/encode.py
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'geobuf==2.0.1'
python --version
pip freeze

cat >program.py <<'EOF'
import sys

import geobuf

TRACK = [[8.0, 47.0, 500.0], [8.1, 47.1, 510.0]]
EXPECTED = {
    "Point": [8.0, 47.0, 500.0],
    "MultiPoint": [[8.0, 47.0], [8.1, 47.1]],
    "LineString": [[8.0, 47.0], [8.1, 47.1]],
}
seen = {}
for kind in EXPECTED:
    shape = {"type": kind, "coordinates": TRACK[0] if kind == "Point" else TRACK}
    seen[kind] = geobuf.decode(geobuf.encode(shape))["coordinates"]
    print(f"{kind}: {shape['coordinates']} becomes {seen[kind]}")
point = {"type": "Point", "coordinates": TRACK[0]}
found = []
for properties in ({"name": None, "n": 1}, {}):
    feature = {"type": "Feature", "geometry": point, "properties": properties}
    found.append(geobuf.decode(geobuf.encode(feature)).get("properties"))
    print(f"properties {properties} become {found[-1]}")
if seen != EXPECTED or found != [{"n": 1}, None]:
    sys.exit("The behaviour has changed.")
EOF
python program.py
