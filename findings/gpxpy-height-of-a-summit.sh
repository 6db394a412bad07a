#!/usr/bin/env bash
# Expected: the climb of a track is the sum of all rises between its points: 100 m up and 100 m down
# for points at 0, 100 and 0 m.
# Seen: get_uphill_downhill() reports 40 and 40. It first replaces each elevation, but the first and
# the last, by a mean of three points, whatever their distance is. Of 0, 10, 0 and 10 m, 10 m up and
# none down are left. The docstring doesn't mention it.
# It matters for planned routes and simplified tracks, whose points are far apart: each pass and
# summit is lower, and the same route has another climb after simplify(). get_elevation_extremes()
# of the same track reports the real heights.
# gpxpy 1.6.2; calculate_uphill_downhill in the package's gpxpy/geo.py
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'gpxpy==1.6.2'
python --version
pip freeze

cat >program.py <<'EOF'
import sys

import gpxpy.gpx

EXPECTED = {
    (0, 100): (100, 0),
    (0, 100, 0): (40, 40),
    (0, 10, 0, 10): (10, 0),
}
seen = {}
for heights in EXPECTED:
    segment = gpxpy.gpx.GPXTrackSegment()
    for number, height in enumerate(heights):
        point = gpxpy.gpx.GPXTrackPoint(47 + number / 100, 8, elevation=height)
        segment.points.append(point)
    climb = segment.get_uphill_downhill()
    seen[heights] = round(climb.uphill, 3), round(climb.downhill, 3)
    print(heights, "m:", climb.uphill, "m up,", climb.downhill, "m down")
if seen != EXPECTED:
    sys.exit("The behaviour has changed.")
EOF
python program.py
