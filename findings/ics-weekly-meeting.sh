#!/usr/bin/env bash
# Expected: a program that reads a calendar with ics and writes it again leaves a weekly meeting at
# 9 o'clock in Berlin at 9 o'clock.
# Seen: the library writes DTSTART in UTC and leaves out the time zone, but it keeps the rule. A
# rule repeats the local time of DTSTART, which is UTC now. So the meeting is at 10:00 once summer
# time begins. Neither an exception nor a warning follows.
# It matters for every program that adds an event to an existing calendar: until the clocks change,
# the calendar looks right.
# ics 0.7.3, read by recurring-ical-events 3.8.2;
# https://www.rfc-editor.org/rfc/rfc5545#section-3.8.5.3
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check \
    'ics==0.7.3' 'icalendar==7.3.2' 'recurring-ical-events==3.8.2' 'tzdata==2026.6'
python --version
pip freeze

cat >program.py <<'EOF'
import sys
import warnings
from zoneinfo import ZoneInfo

import icalendar
import ics
import recurring_ical_events

CALENDAR = """\
BEGIN:VCALENDAR
VERSION:2.0
PRODID:-//example.com//pies//EN
BEGIN:VTIMEZONE
TZID:Europe/Berlin
BEGIN:STANDARD
DTSTART:19701025T030000
RRULE:FREQ=YEARLY;BYMONTH=10;BYDAY=-1SU
TZOFFSETFROM:+0200
TZOFFSETTO:+0100
END:STANDARD
BEGIN:DAYLIGHT
DTSTART:19700329T020000
RRULE:FREQ=YEARLY;BYMONTH=3;BYDAY=-1SU
TZOFFSETFROM:+0100
TZOFFSETTO:+0200
END:DAYLIGHT
END:VTIMEZONE
BEGIN:VEVENT
UID:1@example.com
DTSTAMP:20240101T000000Z
DTSTART;TZID=Europe/Berlin:20240318T090000
DTEND;TZID=Europe/Berlin:20240318T100000
RRULE:FREQ=WEEKLY;COUNT=4
SUMMARY:Pies
END:VEVENT
END:VCALENDAR
"""


def meetings(text):
    events = recurring_ical_events.of(icalendar.Calendar.from_ical(text)).between(2024, 2025)
    berlin = ZoneInfo("Europe/Berlin")
    return sorted(
        event["DTSTART"].dt.astimezone(berlin).strftime("%m-%d %H:%M") for event in events
    )


with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    written = ics.Calendar(CALENDAR).serialize()
print(written)
written = written.replace("CALSCALE:GEORGIAN", "CALSCALE:GREGORIAN")  # another finding
caught = [str(warning.message) for warning in caught if "/ics/" in warning.filename]
before, after = meetings(CALENDAR), meetings(written)
print("before:", before)
print("after: ", after)
print("warnings:", caught)
if (
    before != ["03-18 09:00", "03-25 09:00", "04-01 09:00", "04-08 09:00"]
    or after != ["03-18 09:00", "03-25 09:00", "04-01 10:00", "04-08 10:00"]
    or caught
):
    sys.exit("The behaviour has changed.")
EOF
python program.py
