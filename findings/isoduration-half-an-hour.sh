#!/usr/bin/env bash
# Expected: parse_duration() reads PT0.5H, and 12:00 plus this duration is 12:30.
# Seen: it is 13:00. The parser keeps the decimals, and format_duration() writes them, but a sum
# rounds each of years, months, days, hours, minutes and seconds to an integer of its own. So PT1.2H
# is one hour, PT0.25M nothing, PT0.5S a second, and half a day a day. PT30M and PT1H12M are right.
# It matters for time-outs, leases and bookings in ISO 8601, where one fraction at the end is
# allowed: they end up to half a unit early or late, without an exception.
# isoduration 20.11.0; the last lines of the package's isoduration/operations/__init__.py
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'isoduration==20.11.0'
python --version
pip freeze

cat >program.py <<'EOF'
import datetime as dt
import sys

from isoduration import format_duration, parse_duration

NOON = dt.datetime(2026, 1, 1, 12)
EXPECTED = {
    "PT30M": "12:30:00",
    "PT0.5H": "13:00:00",
    "PT1.2H": "13:00:00",
    "PT1H12M": "13:12:00",
    "PT0.25M": "12:00:00",
    "PT0.5S": "12:00:01",
}
seen = {}
for text in EXPECTED:
    duration = parse_duration(text)
    seen[text] = (NOON + duration).time().isoformat()
    print(f"12:00 and {format_duration(duration)} is {seen[text]}")
halves = NOON + parse_duration("P0.5D"), NOON + parse_duration("P0.5Y")
print("1 January 2026 12:00 and P0.5D, P0.5Y:", *map(str, halves), sep="\n")
if seen != EXPECTED or halves != (dt.datetime(2026, 1, 2, 12), dt.datetime(2027, 1, 1, 12)):
    sys.exit("The behaviour has changed.")
EOF
python program.py
