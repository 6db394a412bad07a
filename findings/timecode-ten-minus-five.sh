#!/usr/bin/env bash
# Expected: with 25 frames a second, ten seconds minus five are five seconds, and the time code ten
# seconds after the beginning is 00:00:10:00. A code at 29.97 frames with colons, 01:00:00:00,
# doesn't drop frames (SMPTE ST 12-1), so it is frame 108,000.
# Seen: timecode counts frames from 1 and computes with these numbers. 00:00:10:00 minus 00:00:05:00
# is 00:00:04:24, plus it is 00:00:15:01, half of 00:00:10:00 is 00:00:04:24, and start_seconds=10
# is 00:00:09:24. At 29.97, colons make no difference unless force_non_drop_frame=True is passed:
# each code drops frames, and 00:01:00:00 is written as 00:00:59;28.
# It matters for the length of a shot and for lists of edits: each result is a frame off, and after
# an hour without drop frames 108.
# timecode 1.5.1, beside opentimelineio 0.18.1; https://github.com/eoyilmaz/timecode
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'timecode==1.5.1' 'opentimelineio==0.18.1'
python --version
pip freeze

cat >program.py <<'EOF'
import sys

from opentimelineio.opentime import from_timecode, to_timecode
from timecode import Timecode

ten, five = Timecode("25", "00:00:10:00"), Timecode("25", "00:00:05:00")
seen = {
    "10 - 5": str(ten - five),
    "10 + 5": str(ten + five),
    "10 / 2": str(ten / 2),
    "start_seconds=10": str(Timecode("25", start_seconds=10)),
    "00:01:00:00 at 29.97": str(Timecode("29.97", "00:01:00:00")),
    "frames of 01:00:00:00 at 29.97": Timecode("29.97", "01:00:00:00").frames - 1,
    "frames of 01:00:00;00 at 29.97": Timecode("29.97", "01:00:00;00").frames - 1,
}
for question, value in seen.items():
    print(question, "is", value)
ten, five = from_timecode("00:00:10:00", 25), from_timecode("00:00:05:00", 25)
others = [to_timecode(ten - five), to_timecode(ten + five)]
print("opentimelineio: 10 - 5 is", others[0], "and 10 + 5 is", others[1])
if others != ["00:00:05:00", "00:00:15:00"] or seen != {
    "10 - 5": "00:00:04:24",
    "10 + 5": "00:00:15:01",
    "10 / 2": "00:00:04:24",
    "start_seconds=10": "00:00:09:24",
    "00:01:00:00 at 29.97": "00:00:59;28",
    "frames of 01:00:00:00 at 29.97": 107892,
    "frames of 01:00:00;00 at 29.97": 107892,
}:
    sys.exit("The behaviour has changed.")
EOF
python program.py
