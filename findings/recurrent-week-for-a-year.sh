#!/usr/bin/env bash
# Expected: "every week for a year" is a weekly rule that ends after a year, "every day at noon" has
# the hour 12, and a phrase that isn't understood is refused. The library returns rules of iCalendar
# (RFC 5545).
# Seen: recurrent makes FREQ=YEARLY of the first and leaves the hour out of the second. "every day
# for 5 days" is the fifth day of a year, "at 9 and 17" every 17 weeks, "every 1.5 hours" each hour,
# and "at 9.30 pm" 9 o'clock in the morning. None is refused.
# It matters because a reminder that is set by a phrase comes at another time or once a year.
# recurrent 0.4.1; https://www.rfc-editor.org/rfc/rfc5545#section-3.3.10;
# https://github.com/kvh/recurrent
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'recurrent==0.4.1' 'parsedatetime==2.6'
python --version
pip freeze

cat >program.py <<'EOF'
import datetime
import sys

from recurrent import RecurringEvent

EXPECTED = {
    "every week for a year": "FREQ=YEARLY;INTERVAL=1",
    "every day for 5 days": "BYYEARDAY=5;FREQ=DAILY;INTERVAL=1",
    "every day at noon": "FREQ=DAILY;INTERVAL=1",
    "every 1.5 hours": "FREQ=HOURLY;INTERVAL=1",
    "every monday at 9 and 17": "BYDAY=MO;BYHOUR=9;BYMINUTE=0;FREQ=WEEKLY;INTERVAL=17",
    "every sunday at 9.30 pm": "BYDAY=SU;BYHOUR=9;BYMINUTE=0;FREQ=WEEKLY;INTERVAL=1",
    "every sunday at 9:30 pm": "BYDAY=SU;BYHOUR=21;BYMINUTE=30;FREQ=WEEKLY;INTERVAL=1",
}
seen = {}
for text in EXPECTED:
    event = RecurringEvent(now_date=datetime.datetime(2024, 3, 6, 12))
    rule = event.parse(text)
    seen[text] = ";".join(sorted(rule.removeprefix("RRULE:").split(";")))
    print(text, "|", rule)
if seen != EXPECTED:
    sys.exit("The behaviour has changed.")
EOF
python program.py
