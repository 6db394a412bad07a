#!/usr/bin/env bash
# Expected: a calendar that ics has read and written can be read by other programs.
# Seen: for a calendar without CALSCALE, which is the normal case, ics writes `CALSCALE:GEORGIAN`.
# RFC 5545 defines only GREGORIAN. A calendar that ics creates doesn't have the line.
# recurring-ical-events refuses the calendar, and ics itself and icalendar read it.
# It matters for programs that add an event to an existing calendar: whether people still see the
# calendar depends on what reads it.
# ics 0.7.3, recurring-ical-events 3.8.2, icalendar 7.3.2;
# https://www.rfc-editor.org/rfc/rfc5545#section-3.7.1;
# https://github.com/ics-py/ics-py/blob/v0.7.3/ics/parsers/icalendar_parser.py
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check \
    'ics==0.7.3' 'icalendar==7.3.2' 'recurring-ical-events==3.8.2'
python --version
pip freeze

cat >program.py <<'EOF'
import sys

import icalendar
import ics
import recurring_ical_events

CALENDAR = """\
BEGIN:VCALENDAR
VERSION:2.0
PRODID:-//example.com//pies//EN
{scale}BEGIN:VEVENT
UID:1@example.com
DTSTAMP:20240101T000000Z
DTSTART:20240318T090000Z
SUMMARY:Pies
END:VEVENT
END:VCALENDAR
"""


def readers(text):
    """Return the names of the libraries that read the event."""
    found = []
    if len(ics.Calendar(text).events) == 1:
        found.append("ics")
    calendar = icalendar.Calendar.from_ical(text)
    if len(calendar.events) == 1:
        found.append("icalendar")
    try:
        if len(recurring_ical_events.of(calendar).at(2024)) == 1:
            found.append("recurring-ical-events")
    except ValueError as error:
        print("recurring-ical-events:", error)
    return found


EVERYBODY = ["ics", "icalendar", "recurring-ical-events"]
texts = {
    "no CALSCALE": CALENDAR.format(scale=""),
    "CALSCALE:GREGORIAN": CALENDAR.format(scale="CALSCALE:GREGORIAN\n"),
}
seen = {}
for name, text in texts.items():
    written = ics.Calendar(text).serialize()
    lines = [line for line in written.splitlines() if line.startswith("CALSCALE")]
    seen[name] = readers(text), lines, readers(written)
    print(f"{name}: written as {lines}, read before by {seen[name][0]}, now by {seen[name][2]}")
new = "CALSCALE" in ics.Calendar(events=[ics.Event("Pies")]).serialize()
print("a new calendar has the line:", new)
if new or seen != {
    "no CALSCALE": (EVERYBODY, ["CALSCALE:GEORGIAN"], ["ics", "icalendar"]),
    "CALSCALE:GREGORIAN": (EVERYBODY, ["CALSCALE:GREGORIAN"], EVERYBODY),
}:
    sys.exit("The behaviour has changed.")
EOF
python program.py
