#!/usr/bin/env bash
# Expected: geojson.loads() leaves the properties of a feature alone, because in RFC 7946 they are
# "any JSON object".
# Seen: every object, at any depth, whose "type" is the name of a class is read as GeoJSON. A
# property "type" of "Point" adds an empty list of coordinates to the properties, and "Feature" adds
# a geometry and properties. With "FeatureCollection" the whole document raises a TypeError. A
# "type" of "harbour" is left alone.
# It matters because "type" is a common name for a property, and layers of charts and sensors have
# "Point" as its value. A service that reads, filters and writes features adds members to them.
# geojson 3.3.0, beside Python's json; https://www.rfc-editor.org/rfc/rfc7946#section-3.2;
# https://github.com/jazzband/geojson/blob/main/geojson/base.py, GeoJSON.to_instance
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'geojson==3.3.0'
python --version
pip freeze

cat >program.py <<'EOF'
import json
import sys

import geojson

seen = []
for properties in (
    {"type": "harbour", "name": "A"},
    {"type": "Point", "name": "A"},
    {"owner": {"type": "Feature", "name": "A"}},
    {"type": "FeatureCollection", "name": "A"},
):
    feature = {
        "type": "Feature",
        "geometry": {"type": "Point", "coordinates": [8.5, 47.25]},
        "properties": properties,
    }
    try:
        result = json.loads(geojson.dumps(geojson.loads(json.dumps(feature))))["properties"]
    except TypeError as error:
        result = error
    print(properties, "->", result)
    seen.append(result)
added = {"type": "Feature", "name": "A", "geometry": None, "properties": {}}
if seen[:3] != [
    {"type": "harbour", "name": "A"},
    {"type": "Point", "name": "A", "coordinates": []},
    {"owner": added},
] or not isinstance(seen[3], TypeError):
    sys.exit("The behaviour has changed.")
EOF
python program.py
