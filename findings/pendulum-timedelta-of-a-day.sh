#!/usr/bin/env bash
# Expected: a day after noon is noon with pendulum's DateTime, "a drop-in replacement for the
# standard datetime class", whether the day is a timedelta or a pendulum.duration.
# Seen: with timedelta(days=1) it is 13:00 on the eve of summer time, because 24 hours have passed.
# With duration(days=1), and with add(days=1), it is 12:00, and so it is with Python's datetime. The
# difference of two DateTimes, which is a timedelta as well, gives 12:00.
# It matters for code that moves to pendulum, and for code that gets its step from a setting or
# another library, which is a timedelta: twice a year, daily jobs and reminders move by an hour.
# pendulum 3.3.0; https://pendulum.eustace.io/docs/#addition-and-subtraction
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'pendulum==3.3.0' 'tzdata==2026.6'
python --version
pip freeze

cat >program.py <<'EOF'
import sys
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pendulum

ZONE = "Europe/Berlin"
noon = pendulum.datetime(2024, 3, 30, 12, tz=ZONE)
day = timedelta(days=1)
difference = pendulum.datetime(2024, 1, 2) - pendulum.datetime(2024, 1, 1)
assert isinstance(difference, timedelta) and difference == day
seen = {
    "datetime + timedelta(days=1)": datetime(2024, 3, 30, 12, tzinfo=ZoneInfo(ZONE)) + day,
    "DateTime.add(days=1)": noon.add(days=1),
    "DateTime + duration(days=1)": noon + pendulum.duration(days=1),
    "DateTime + (2 January - 1 January)": noon + difference,
    "DateTime + timedelta(days=1)": noon + day,
}
for name, result in seen.items():
    print(f"{name}: {result}")
if [result.hour for result in seen.values()] != [12, 12, 12, 12, 13]:
    sys.exit("The behaviour has changed.")
EOF
python program.py
