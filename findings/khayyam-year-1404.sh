#!/usr/bin/env bash
# Expected: the year 1404 begins on 21 March 2025, as the calendars of Iran say, because the equinox
# was after noon in Tehran on the 20th, and so 1403 has 366 days.
# Seen: jdatetime and convertdate have it on the 21st, Khayyam on the 20th: for it 1403 isn't a leap
# year, 30 Esfand 1403 raises a ValueError, and every date until March 2026 is a day off. From 1395
# to 1436 it is the only such year, so tests with other dates pass.
# It matters for invoices, salaries and birthdays: a program that was right for nine years is wrong
# for one, and two services that use different libraries disagree by a day.
# Khayyam 3.0.17, beside jdatetime 6.1.1 and convertdate 2.5.1; the package's
# khayyam/algorithms_pure.py; https://en.wikipedia.org/wiki/Solar_Hijri_calendar#Leap_years
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check \
    'Khayyam==3.0.17' 'jdatetime==6.1.1' 'convertdate==2.5.1'
python --version
pip freeze

cat >program.py <<'EOF'
import datetime
import sys

import convertdate.persian
import jdatetime
import khayyam

seen = {}
for year in range(1395, 1437):
    dates = {
        "convertdate": datetime.date(*convertdate.persian.to_gregorian(year, 1, 1)),
        "Khayyam": khayyam.JalaliDate(year, 1, 1).todate(),
        "jdatetime": jdatetime.date(year, 1, 1).togregorian(),
    }
    if len({*dates.values()}) > 1:
        seen[year] = {name: str(date) for name, date in dates.items()}
print(seen)
solstice = datetime.date(2025, 12, 21)
print(khayyam.JalaliDate(solstice), jdatetime.date.fromgregorian(date=solstice))
if seen != {
    1404: {"convertdate": "2025-03-21", "Khayyam": "2025-03-20", "jdatetime": "2025-03-21"}
}:
    sys.exit("The behaviour has changed.")
EOF
python program.py
