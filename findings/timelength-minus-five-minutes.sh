#!/usr/bin/env bash
# Expected: a parser of durations reads "-5 minutes" as minus 300 seconds, as pytimeparse2 does, or
# reports that it can't.
# Seen: for timelength, -5 minutes, minus 5 minutes and -1:30 are positive, and success is true. So
# are "2 hours ago" and "1:30 hours", which is a minute and a half. "5-10 minutes" are ten. A
# decimal comma makes all of "1,5 hours" zero, with success false only in the result. None of these
# raises an exception.
# It matters for offsets and reminders: "-15 minutes" is a quarter of an hour after the start of a
# meeting.
# timelength 3.0.4, pytimeparse2 1.7.1; https://github.com/EtorixDev/timelength;
# https://github.com/onegreyonewhite/pytimeparse2
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'timelength==3.0.4' 'pytimeparse2==1.7.1'
python --version
pip freeze

cat >program.py <<'EOF'
import sys

import pytimeparse2
from timelength import TimeLength

EXPECTED = {
    "5 minutes": (True, 300.0, 300),
    "-5 minutes": (True, 300.0, -300),
    "-1:30": (True, 90.0, -90),
    "minus 5 minutes": (True, 300.0, None),
    "1:30 hours": (True, 90.0, None),
    "5-10 minutes": (True, 600.0, None),
    "1,5 hours": (False, 0.0, None),
}
seen = {}
for text in EXPECTED:
    result = TimeLength(text).result
    seen[text] = result.success, result.seconds, pytimeparse2.parse(text)
    print("{}: success {}, {} seconds; pytimeparse2 {}".format(text, *seen[text]))
if seen != EXPECTED:
    sys.exit("The behaviour has changed.")
EOF
python program.py
