#!/usr/bin/env bash
# Expected: Babel numbers the weeks of the locale "de" like Germany does, by ISO 8601: 1 January
# 2027 is in week 53 of 2026. "de" stands for "de_DE".
# Seen: with "de" it is in week 1 of 2027, with "de_DE" in week 53 of 2026. Babel takes the least
# number of days in the first week from the territory, and without one from the world's default,
# which is 1. The likely territory of the language (which CLDR defines for this case) isn't used.
# The same is true for fr, nl and sv. From 2000 to 2029, 44 % of the days have another week.
# It matters because programs, for example with Flask-Babel, usually set only the language:
# calendars, delivery dates and time sheets show a week that no German calendar shows, in some years
# only.
# babel 2.19.0; https://www.unicode.org/reports/tr35/tr35-dates.html#Week_Data;
# https://www.unicode.org/reports/tr35/#Likely_Subtags
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'babel==2.19.0'
python --version
pip freeze

cat >program.py <<'EOF'
import sys
from datetime import date, timedelta

from babel.dates import format_date


def by_iso(day):
    year, week, _ = day.isocalendar()
    return f"{week} of {year}"


def by_babel(day, locale):
    return format_date(day, "w 'of' Y", locale=locale)


days = [date(2000, 1, 1) + timedelta(days=number) for number in range(30 * 365 + 8)]
assert days[-1] == date(2029, 12, 31)
seen = {}
for locale in "de", "de_DE", "fr", "fr_FR", "nl", "nl_NL", "sv", "sv_SE":
    others = sum(by_babel(day, locale) != by_iso(day) for day in days)
    print(f"{locale}: 1 January 2027 is in week {by_babel(date(2027, 1, 1), locale)};", end=" ")
    print(f"{others / len(days):.0%} of the days differ from ISO 8601")
    seen[locale] = by_babel(date(2027, 1, 1), locale), others
print("ISO 8601:", by_iso(date(2027, 1, 1)))
if seen != {
    name: ("53 of 2026", 0) if "_" in name else ("1 of 2027", 4769) for name in seen
}:
    sys.exit("The behaviour has changed.")
EOF
python program.py
