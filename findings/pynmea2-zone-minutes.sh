#!/usr/bin/env bash
# Expected: in the sentence ZDA of a GPS receiver in Newfoundland, the zone "-03,30" is three and a
# half hours west of Greenwich: the minutes have the sign of the hours.
# Seen: pynmea2 adds the minutes to the negative hours. The zone is -02:30 and `localdatetime` is
# an hour late. With "05,30", for India, the zone is right.
# It matters for the logs of ships. Only zones west of Greenwich with half hours are wrong, so a
# test with another zone passes.
# pynmea2 1.19.0; https://gpsd.gitlab.io/gpsd/NMEA.html (ZDA);
# https://github.com/Knio/pynmea2/blob/master/pynmea2/types/talker.py, ZDA
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'pynmea2==1.19.0'
python --version
pip freeze

cat >program.py <<'EOF'
import functools
import operator
import sys

import pynmea2

seen = {}
for zone in "-03,30", "-09,30", "-03,00", "05,30":
    text = f"GPZDA,150000.00,18,03,2024,{zone}"
    checksum = functools.reduce(operator.xor, text.encode())
    sentence = pynmea2.parse(f"${text}*{checksum:02X}", check=True)
    seen[zone] = str(sentence.localdatetime)
    print(sentence, "is", sentence.datetime, "or", seen[zone])
if seen != {
    "-03,30": "2024-03-18 12:30:00-02:30",
    "-09,30": "2024-03-18 06:30:00-08:30",
    "-03,00": "2024-03-18 12:00:00-03:00",
    "05,30": "2024-03-18 20:30:00+05:30",
}:
    sys.exit("The behaviour has changed.")
EOF
python program.py
