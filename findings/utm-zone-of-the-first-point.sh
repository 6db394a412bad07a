#!/usr/bin/env bash
# Expected: from_latlon with arrays gives for each point what it gives for that point alone, or
# refuses points of several zones, as it refuses points north and south of the equator.
# Seen: all points get the zone and the letter of the first one. A point at 6.1° E has the easting
# 713 km in place of the 301 km of its own zone, and one in Inner Mongolia 3,993 km. No warning
# follows.
# It matters for tables of positions, which are converted as a whole: they look right in a list and
# end in the sea on a map. The order of the rows changes the result.
# utm 0.9.0, numpy 2.4.6; https://github.com/Turbo87/utm
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'utm==0.9.0' 'numpy==2.4.6'
python --version
pip freeze

cat >program.py <<'EOF'
import sys

import numpy
import utm

POINTS = [(52.0, 5.9), (52.0, 6.1), (50.0, 120.0)]
seen = {}
for order in POINTS, POINTS[::-1]:
    latitudes, longitudes = numpy.array(order).T
    eastings, _northings, zone, _letter = utm.from_latlon(latitudes, longitudes)
    for point, easting in zip(order, eastings, strict=True):
        alone = utm.from_latlon(*point)
        seen.setdefault(point, {"alone": (round(alone[0] / 1000), alone[2])})
        seen[point][f"in zone {zone}"] = round(float(easting) / 1000)
for point, eastings in seen.items():
    print(point, "easting in km:", eastings)
EXPECTED = {
    (52.0, 5.9): {"alone": (699, 31), "in zone 31": 699, "in zone 51": -2494},
    (52.0, 6.1): {"alone": (301, 32), "in zone 31": 713, "in zone 51": -2519},
    (50.0, 120.0): {"alone": (285, 51), "in zone 31": 3993, "in zone 51": 285},
}
if seen != EXPECTED:
    sys.exit("The behaviour has changed.")
EOF
python program.py
