#!/usr/bin/env bash
# Expected: an event with RDATE takes place at its start and at each of these dates (RFC 5545,
# 3.8.5.2 and 3.8.5.3: DTSTART is always the first instance).
# Seen: icalevents doesn't read RDATE, so only the start is left of three evenings. ical returns the
# two dates and not the start, unless the event has an RRULE as well. recurring-ical-events returns
# all three.
# It matters for courses and conferences with irregular dates, which calendars export in this way: a
# display, or an automation with ical, misses the first evening or all the others.
# icalevents 0.3.1, ical 14.3.1, beside recurring-ical-events 3.8.2 with icalendar 7.3.2;
# https://www.rfc-editor.org/rfc/rfc5545#section-3.8.5.2
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check \
    'icalevents==0.3.1' 'ical==14.3.1' 'recurring-ical-events==3.8.2' 'icalendar==7.3.2' \
    'tzdata==2026.6'
python --version
pip freeze

cat >program.py <<'EOF'
import sys
from datetime import datetime
from zoneinfo import ZoneInfo

import recurring_ical_events
from ical.calendar_stream import IcsCalendarStream
from icalendar import Calendar
from icalevents.icalevents import events

CALENDAR = """\
BEGIN:VCALENDAR
VERSION:2.0
PRODID:-//example.com//pies//EN
BEGIN:VEVENT
UID:1@example.com
DTSTAMP:20240101T000000Z
DTSTART;TZID=Europe/Berlin:20240305T180000
DTEND;TZID=Europe/Berlin:20240305T200000
{}
SUMMARY:Baking
END:VEVENT
END:VCALENDAR
"""
DATES = "RDATE;TZID=Europe/Berlin:20240312T180000,20240321T180000"
BERLIN = ZoneInfo("Europe/Berlin")
first, last = datetime(2024, 1, 1, tzinfo=BERLIN), datetime(2024, 12, 31, tzinfo=BERLIN)
seen = {}
for name, lines in {
    "RDATE": DATES,
    "RRULE and RDATE": f"RRULE:FREQ=DAILY;COUNT=1\n{DATES}",
}.items():
    text = CALENDAR.format(lines).replace("\n", "\r\n")
    by_icalevents = events(string_content=text.encode(), start=first, end=last)
    by_ical = IcsCalendarStream.calendar_from_ics(text).timeline_tz(BERLIN)
    by_recurring = recurring_ical_events.of(Calendar.from_ical(text)).between(first, last)
    starts = {
        "recurring-ical-events": [event.start for event in by_recurring],
        "ical": [event.dtstart for event in by_ical.overlapping(first, last)],
        "icalevents": [event.start for event in by_icalevents],
    }
    for library, times in starts.items():
        days = [f"{time.astimezone(BERLIN):%d %B}" for time in sorted(times)]
        print(f"{name}: {library}: {', '.join(days)}")
        seen[name, library] = [int(day[:2]) for day in days]
if seen != {
    ("RDATE", "recurring-ical-events"): [5, 12, 21],
    ("RDATE", "ical"): [12, 21],
    ("RDATE", "icalevents"): [5],
    ("RRULE and RDATE", "recurring-ical-events"): [5, 12, 21],
    ("RRULE and RDATE", "ical"): [5, 12, 21],
    ("RRULE and RDATE", "icalevents"): [5],
}:
    sys.exit("The behaviour has changed.")
EOF
python program.py
