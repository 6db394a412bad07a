#!/usr/bin/env bash
# Expected: a parser of ISO 8601 reads 2024-03-18T24:00Z as the end of that day, which is the
# beginning of the 19th (ISO 8601:2004, section 4.2.3), and 12:30.5 as half a minute after half past
# twelve (section 4.2.2.4). A parser that doesn't know a form raises an exception.
# Seen: for aniso8601, the end of the 18th is its beginning, 24 hours early, and the interval from
# 22:00 to 24:00 ends before it starts. iso8601 takes minutes with a decimal for seconds: 12:30.5
# becomes 12:00:30.5. isodate refuses 24:00 and reads 12:30.5.
# It matters for opening hours, shifts and bookings, which often end at 24:00: two hours become
# minus 22. Instruments write decimals of a minute. Other times are right, so a test passes.
# aniso8601 10.0.1, iso8601 2.1.0, beside isodate 0.7.2; https://www.iso.org/standard/40874.html;
# https://codeberg.org/nielsenb-jf/aniso8601; https://github.com/micktwomey/pyiso8601
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'aniso8601==10.0.1' 'iso8601==2.1.0' \
    'isodate==0.7.2'
python --version
pip freeze

cat >program.py <<'EOF'
import sys

import aniso8601
import iso8601
import isodate

PARSERS = {
    "aniso8601": aniso8601.parse_datetime,
    "iso8601": iso8601.parse_date,
    "isodate": isodate.parse_datetime,
}
seen = {}
for text in "2024-03-18T22:00Z", "2024-03-18T24:00Z", "2024-03-18T12:30.5Z":
    for name, parse in PARSERS.items():
        try:
            seen[text, name] = str(parse(text))
        except ValueError as error:  # iso8601's exception is one, too
            seen[text, name] = type(error).__name__
        print(f"{text} by {name}: {seen[text, name]}")
start, end = aniso8601.parse_interval("2024-03-18T22:00Z/2024-03-18T24:00Z")
hours = (end - start).total_seconds() / 3600
print(f"2024-03-18T22:00Z/2024-03-18T24:00Z by aniso8601: {hours} hours")
if hours != -22 or seen != {
    **{("2024-03-18T22:00Z", name): "2024-03-18 22:00:00+00:00" for name in PARSERS},
    ("2024-03-18T24:00Z", "aniso8601"): "2024-03-18 00:00:00+00:00",
    ("2024-03-18T24:00Z", "iso8601"): "ParseError",
    ("2024-03-18T24:00Z", "isodate"): "ValueError",
    ("2024-03-18T12:30.5Z", "aniso8601"): "2024-03-18 12:30:30+00:00",
    ("2024-03-18T12:30.5Z", "iso8601"): "2024-03-18 12:00:30.500000+00:00",
    ("2024-03-18T12:30.5Z", "isodate"): "2024-03-18 12:30:30+00:00",
}:
    sys.exit("The behaviour has changed.")
EOF
python program.py
