#!/usr/bin/env bash
# Expected: on each day and at each place between the polar circles the sun rises before it sets, so
# the sunset that astral computes for a date is after the sunrise.
# Seen: without tzinfo, the date is one of UTC. In Los Angeles, the evening of 30 June is 1 July
# there, so the sunset of 1 July is 9.6 hours before the sunrise; likewise in Honolulu and Auckland.
# With the place's zone the order is right. LocationInfo has the zone, but sunset() takes only its
# observer.
# It matters for lamps and blinds that compare the time with both: it is never day, or never night.
# astral 3.2; https://sffjunkie.github.io/astral/ ; https://github.com/sffjunkie/astral
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'astral==3.2' 'tzdata==2025.2'
python --version
pip freeze

cat >program.py <<'EOF'
import datetime as dt
import sys

from astral import LocationInfo
from astral.sun import daylight, sunrise, sunset

DAY = dt.date(2026, 7, 1)
PLACES = (
    LocationInfo("Los Angeles", "", "America/Los_Angeles", 34.05, -118.24),
    LocationInfo("Honolulu", "", "Pacific/Honolulu", 21.31, -157.86),
    LocationInfo("Auckland", "", "Pacific/Auckland", -36.85, 174.76),
    LocationInfo("Zurich", "", "Europe/Zurich", 47.37, 8.54),
)
seen = []
for place in PLACES:
    hours = []
    for zone in (dt.timezone.utc, place.tzinfo):
        rise = sunrise(place.observer, DAY, tzinfo=zone)
        hours.append((sunset(place.observer, DAY, tzinfo=zone) - rise).total_seconds() / 3600)
    default = sunset(place.observer, DAY) - sunrise(place.observer, DAY)
    assert default.total_seconds() / 3600 == hours[0]
    print(f"{place.name}: from sunrise to sunset {hours[0]:.1f} h, with tzinfo {hours[1]:.1f} h")
    seen.append((hours[0] < 0, hours[1] > 0))
if seen != [(True, True), (True, True), (True, True), (False, True)]:
    sys.exit("The behaviour has changed.")
EOF
python program.py
