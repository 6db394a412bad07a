#!/usr/bin/env bash
# Expected: icalendar writes the durations of an event and of its alarm as it read them.
# Seen: DURATION:PT24H becomes P1D, and TRIGGER:-PT24H becomes -P1D. In RFC 5545, PT24H is an exact
# time and P1D a nominal one, so they differ when the clocks change. Both are the same timedelta
# for the library. `event.end` confuses them in the same way: an event of 24 hours that begins at
# 12:00 on the eve of summer time ends at 12:00 the next day, after 23 hours.
# It matters for shifts, rentals and reminders: twice a year, a program that reads a calendar, adds
# a line and writes it moves their ends by an hour.
# icalendar 7.3.2; https://www.rfc-editor.org/rfc/rfc5545#section-3.3.6
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'icalendar==7.3.2' 'tzdata==2026.6'
python --version
pip freeze

cat >program.py <<'EOF'
import sys
from datetime import timedelta

import icalendar

CALENDAR = """\
BEGIN:VCALENDAR
VERSION:2.0
PRODID:-//example.com//pies//EN
BEGIN:VEVENT
UID:1@example.com
DTSTAMP:20240101T000000Z
DTSTART;TZID=Europe/Berlin:20240330T120000
DURATION:PT24H
BEGIN:VALARM
ACTION:DISPLAY
DESCRIPTION:Oven
TRIGGER:-PT24H
END:VALARM
END:VEVENT
END:VCALENDAR
"""

calendar = icalendar.Calendar.from_ical(CALENDAR)
written = calendar.to_ical().decode()
print(CALENDAR, written, sep="\n")
lines = [line for line in written.splitlines() if line.startswith(("DURATION", "TRIGGER"))]
(event,) = calendar.walk("VEVENT")
passed = timedelta(seconds=event.end.timestamp() - event.start.timestamp())
print("from", event.start, "to", event.end, "which is", passed)
if lines != ["DURATION:P1D", "TRIGGER:-P1D"] or passed != timedelta(hours=23):
    sys.exit("The behaviour has changed.")
EOF
python program.py
