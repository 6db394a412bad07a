#!/usr/bin/env bash
# Expected: shift(hours=2) of arrow is two hours later, also on the day when the clocks change:
# arrow is "timezone-aware", and a step of hours isn't one of days.
# Seen: it adds to the time on the clock, as Python's datetime does. In Berlin in spring, 01:30 plus
# one hour and 01:30 plus two hours are the same time. In autumn, two hours are three, and half an
# hour after 02:30 is one and a half. pendulum's add(hours=2) is right, and so is arrow in UTC.
# It matters for reminders, tokens and parking tickets, which expire an hour late or early in one
# night of the year. A loop with a step of an hour repeats one and skips another.
# arrow 1.4.0, beside pendulum 3.3.0; https://arrow.readthedocs.io/en/latest/guide.html
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'arrow==1.4.0' 'pendulum==3.3.0' 'tzdata==2026.6'
python --version
pip freeze

cat >program.py <<'EOF'
import sys
from datetime import datetime

import arrow
import pendulum

ZONE = "Europe/Berlin"
CASES = [
    ("2024-03-31T01:30", {"hours": 1}),
    ("2024-03-31T01:30", {"hours": 2}),
    ("2024-10-27T01:30", {"hours": 2}),
    ("2024-10-27T02:30", {"minutes": 30}),
]
seen = []
for text, step in CASES:
    start = arrow.get(text, tzinfo=ZONE)
    shifted = start.shift(**step)
    passed = shifted.timestamp() - start.timestamp()
    other = pendulum.instance(datetime.fromisoformat(text), ZONE)
    if text == "2024-10-27T02:30":
        other = other.subtract(hours=1)  # the first of two, as arrow's
    other_passed = other.add(**step).timestamp() - other.timestamp()
    print(f"{start} shifted by {step} is {shifted}:", end=" ")
    print(f"{passed / 60:.0f} minutes have passed, in pendulum {other_passed / 60:.0f}")
    seen.append((str(shifted), passed / 60, other_passed / 60))
if seen != [
    ("2024-03-31T03:30:00+02:00", 60, 60),
    ("2024-03-31T03:30:00+02:00", 60, 120),
    ("2024-10-27T03:30:00+01:00", 180, 120),
    ("2024-10-27T03:00:00+01:00", 90, 30),
]:
    sys.exit("The behaviour has changed.")
EOF
python program.py
