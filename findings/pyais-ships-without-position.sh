#!/usr/bin/env bash
# Expected: encode_dict() fills what isn't given with the values that AIS defines for "not
# available": latitude 91, longitude 181, speed 102.3, course 360 and heading 511.
# Seen: all of them are 0, so the ship is off the coast of Ghana, stands still and heads north. The
# rate of turn, whose value for "not available" is -128, is right, which makes it look as if the
# others were, too.
# It matters for transponders, gateways and simulators that have no fix yet: receivers show a ship
# where none is. A filter for latitude 91, as for other senders, doesn't find it.
# pyais 3.3.1; the fields of MessageType1 in the package's pyais/messages.py;
# https://gpsd.gitlab.io/gpsd/AIVDM.html#_types_1_2_and_3_position_report_class_a
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'pyais==3.3.1'
python --version
pip freeze

cat >program.py <<'EOF'
import sys

from pyais import decode, encode_dict

NAMES = ("lat", "lon", "speed", "course", "heading", "turn")
seen = {}
for kind in (1, 18):
    message = decode(*encode_dict({"type": kind, "mmsi": "211234560"})).asdict()
    seen[kind] = [float(message[name]) for name in NAMES if name in message]
    print("type", kind, dict(zip(NAMES, seen[kind], strict=False)))
given = {"lat": 91, "lon": 181, "speed": 102.3, "course": 360, "heading": 511}
message = decode(*encode_dict({"type": 1, "mmsi": "211234560", **given})).asdict()
print("given", {name: message[name] for name in given})
if seen != {1: [0.0] * 5 + [-128.0], 18: [0.0] * 5}:
    sys.exit("The behaviour has changed.")
EOF
python program.py
