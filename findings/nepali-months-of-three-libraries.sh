#!/usr/bin/env bash
# Expected: three libraries for the Nepali calendar agree on a day of this or the last year, since
# the lengths of its months are published.
# Seen: between 1970 and March 2026 they differ on 96 days. In nepali 1.2.0, the first month of 2062
# has 30 days and the second 32, so from 14 May to 14 June 2005 each date is a day later than in the
# two others. In bikram, the same happens in 2082: from 14 May to 14 June 2025 and from 16 July to
# 16 August 2025.
# It matters for dates of birth and due dates. The other days agree, so a test with one date passes.
# nepali 1.2.0, nepali-datetime 1.0.8.5, bikram 2.1.4;
# https://github.com/opensource-nepal/py-nepali; https://github.com/amitgaru2/nepali-datetime
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check \
    'nepali==1.2.0' 'nepali-datetime==1.0.8.5' 'bikram==2.1.4'
python --version
pip freeze

cat >program.py <<'EOF'
import sys
from datetime import date, timedelta

import bikram
import nepali_datetime
from nepali.datetime import nepalidate

differ = {"nepali": [], "nepali-datetime": [], "bikram": []}
day = date(1970, 1, 1)
while day < date(2026, 4, 1):
    samwat = bikram.samwat.from_ad(day)
    found = {
        "nepali": nepalidate.from_date(day).strftime("%Y-%m-%d"),
        "nepali-datetime": str(nepali_datetime.date.from_datetime_date(day)),
        "bikram": f"{samwat.year:04}-{samwat.month:02}-{samwat.day:02}",
    }
    dates = list(found.values())
    for name, text in found.items():
        if dates.count(text) == 1:
            differ[name].append(str(day))
            if len(differ[name]) == 1:
                print(day, found)
    day += timedelta(days=1)
seen = {name: (len(days), *days[:1], *days[-1:]) for name, days in differ.items()}
print("days on which a library is alone:", seen)
if seen != {
    "nepali": (32, "2005-05-14", "2005-06-14"),
    "nepali-datetime": (0,),
    "bikram": (64, "2025-05-14", "2025-08-16"),
}:
    sys.exit("The behaviour has changed.")
EOF
python program.py
