#!/usr/bin/env bash
# Expected: Point("-33 51 31, 151 12 51"), degrees, minutes and seconds of Sydney, gets these
# coordinates or raises ValueError.
# Seen: it is 12° N, 51° E, near Yemen. Minutes are read only with a mark such as m or ′, and the
# pattern may skip any beginning of a text, so the last two numbers that can be coordinates count.
# "51 28.5 N, 0 7.5 W" in London becomes 0° N, 7.5° W, in the Atlantic. With marks these are right,
# but -0° 30′ is 30 minutes north, because -0.0 isn't less than 0.
# It matters for positions from logs, forms and maps: neither an exception nor a warning follows,
# and a place in Kenya or Ecuador lies on the other side of the equator.
# geopy 2.5.0; POINT_PATTERN and Point.parse_degrees in the package's geopy/point.py
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'geopy==2.5.0'
python --version
pip freeze

cat >program.py <<'EOF'
import sys

from geopy import Point

EXPECTED = {
    "33° 51′ 31″ S, 151° 12′ 51″ E": (-33.8586, 151.2142),
    "-33° 51′ 31″, 151° 12′ 51″": (-33.8586, 151.2142),
    "-33 51 31, 151 12 51": (12.0, 51.0),
    "51 28.5 N, 0 7.5 W": (0.0, -7.5),
    "0° 30′ 0″ S, 37° 0′ 0″ E": (-0.5, 37.0),
    "-0° 30′ 0″, 37° 0′ 0″": (0.5, 37.0),
    "-0.5, 37": (-0.5, 37.0),
}
seen = {}
for text in EXPECTED:
    point = Point(text)
    seen[text] = round(point.latitude, 4), round(point.longitude, 4)
    print(f"{text}: {seen[text]}")
if seen != EXPECTED:
    sys.exit("The behaviour has changed.")
EOF
python program.py
