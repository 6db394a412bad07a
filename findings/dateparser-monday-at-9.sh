#!/usr/bin/env bash
# Expected: "monday at 9" is a Monday at nine o'clock, like "monday at 9:00". What isn't understood
# is None.
# Seen: dateparser makes the sixth of September of it: the 9 is a month and the 6 today's day.
# "tomorrow at 9" is tomorrow at the present time of day, the 9 is dropped. "Q1 2024" is today's day
# and month in 2024. "9:00", "9 am" and "9pm" are right.
# It matters for reminders that are typed: most are written without minutes.
# dateparser 1.5.0; https://dateparser.readthedocs.io/en/latest/introduction.html
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'dateparser==1.5.0'
python --version
pip freeze

cat >program.py <<'EOF'
import datetime
import sys

import dateparser

EXPECTED = {
    "monday at 9": "2024-09-06 00:00",
    "monday at 9:00": "2024-03-04 09:00",
    "tomorrow at 9": "2024-03-07 12:34",
    "tomorrow at 9:00": "2024-03-07 09:00",
    "tomorrow at 9 am": "2024-03-07 09:00",
    "Q1 2024": "2024-03-06 00:00",
}
now = datetime.datetime(2024, 3, 6, 12, 34)
print("now:", now)
seen = {}
for text in EXPECTED:
    date = dateparser.parse(text, languages=["en"], settings={"RELATIVE_BASE": now})
    seen[text] = f"{date:%Y-%m-%d %H:%M}"
    print(text, "|", seen[text])
if seen != EXPECTED:
    sys.exit("The behaviour has changed.")
EOF
python program.py
