#!/usr/bin/env bash
# Expected: two libraries that turn the locator of an amateur radio station, such as JO62, into a
# position return the same place.
# Seen: maidenhead returns the south-west corner of the square, 52.0, 12.0, unless center=True is
# passed. pyhamtools returns its centre, 52.5, 13.0. They are 88 km apart. maidenhead's locator of
# the north pole is JA00aa, which is the south pole.
# It matters for distances and bearings: a contact in the same square is 88 km away, and contacts
# that one program logged are moved by another.
# maidenhead 1.8.0, pyhamtools 0.13.2; https://github.com/space-physics/maidenhead;
# https://pyhamtools.readthedocs.io/en/stable/reference.html
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'maidenhead==1.8.0' 'pyhamtools==0.13.2'
python --version
pip freeze

cat >program.py <<'EOF'
import sys

import maidenhead
from pyhamtools.locator import calculate_distance, locator_to_latlong

corner, centre = maidenhead.to_location("JO62"), locator_to_latlong("JO62")
distance = calculate_distance(maidenhead.to_maiden(*corner), maidenhead.to_maiden(*centre))
print("JO62: maidenhead", corner, "and pyhamtools", centre, f"about {distance:.0f} km apart")
print("JO62, center=True:", maidenhead.to_location("JO62", center=True))
pole = maidenhead.to_maiden(90, 0)
there = maidenhead.to_location(pole)
print("90 degrees north:", pole, "which is", there)
if corner != (52.0, 12.0) or centre != (52.5, 13.0) or distance < 80:
    sys.exit("The behaviour has changed.")
if maidenhead.to_location("JO62", center=True) != centre or there[0] > -89:
    sys.exit("The behaviour has changed.")
EOF
python program.py
