#!/usr/bin/env bash
# Expected: two libraries for the Chinese calendar have the same months, because a month begins on
# the day on which the moon is new in Beijing.
# Seen: from 1950 to 2098, five months begin on two different days. In 1978 the moon was new at
# 00:09 on 3 September, but lunardate has the first of the month on the 2nd, so its Mid-Autumn
# Festival is the 16th of September and that of LunarCalendar the 17th. In 1954 lunardate is a day
# late. Of the months of 2057, 2089 and 2097, LunarCalendar has the moon after midnight, ephem
# minutes before it.
# It matters for birthdays and anniversaries by this calendar: all days of such a month are a day
# off, and two services congratulate on two days. Tests with dates of this century until 2056 agree.
# lunardate 0.3.0, LunarCalendar 0.0.9, beside ephem 4.2.1; the tables in the package's lunardate.py
# and in lunarcalendar/converter.py; https://en.wikipedia.org/wiki/Chinese_calendar
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check \
    'lunardate==0.3.0' 'LunarCalendar==0.0.9' 'ephem==4.2.1'
python --version
pip freeze

cat >program.py <<'EOF'
import datetime
import sys

import ephem
from lunarcalendar import Converter, Solar
from lunardate import LunarDate

EXPECTED = {
    "1954-11-25": ["10-30", "11-1"],
    "1978-09-02": ["8-1", "7-30"],
    "2057-09-28": ["9-1", "8-30"],
    "2089-09-04": ["8-1", "7-30"],
    "2097-08-07": ["7-1", "6-30"],
}
day = datetime.date(1950, 1, 1)
differed = False
count, seen = 0, {}
while day.year < 2099:
    first = LunarDate.from_solar_date(day.year, day.month, day.day)
    second = Converter.Solar2Lunar(Solar(day.year, day.month, day.day))
    dates = [f"{one.month}-{one.day}" for one in (first, second)]
    differs = dates[0] != dates[1]
    count += differs
    if differs and not differed:
        moon = ephem.next_new_moon(str(day - datetime.timedelta(days=3)))
        print(day, dates, "| new moon in Beijing:", ephem.Date(moon + 8 * ephem.hour))
        seen[str(day)] = dates
    differed = differs
    day += datetime.timedelta(days=1)
print(count, "days differ")
if seen != EXPECTED or count != 150:
    sys.exit("The behaviour has changed.")
EOF
python program.py
