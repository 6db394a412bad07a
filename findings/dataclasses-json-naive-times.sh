#!/usr/bin/env bash
# Expected: an object that dataclasses-json writes and reads equals itself.
# Seen: a naive datetime is written as the seconds since 1970 in the zone of the machine, and read
# with that of the machine that reads. 12:00 that is written in Berlin is 11:00+00:00 in London, and
# comparing it with the original raises a TypeError or is false. A date can't be written.
# It matters for jobs and caches that pass between a laptop and a server in UTC: opening hours move,
# and tests on one machine pass.
# dataclasses-json 0.6.7; https://lidatong.github.io/dataclasses-json/
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'dataclasses-json==0.6.7'
python --version
pip freeze

cat >program.py <<'EOF'
import os
import sys
import time
from dataclasses import dataclass
from datetime import datetime

from dataclasses_json import dataclass_json


@dataclass_json
@dataclass
class Opening:
    at: datetime


def in_zone(zone):
    os.environ["TZ"] = zone
    time.tzset()


opening = Opening(datetime(2024, 1, 1, 12))
in_zone("CET-1")
text = opening.to_json()
seen = {"written": text, "equal": Opening.from_json(text) == opening}
for zone in "CET-1", "UTC0":
    in_zone(zone)
    seen[f"read in {zone}"] = Opening.from_json(text).at.isoformat()
print(*seen.items(), sep="\n")
EXPECTED = {
    "written": '{"at": 1704106800.0}',
    "equal": False,
    "read in CET-1": "2024-01-01T12:00:00+01:00",
    "read in UTC0": "2024-01-01T11:00:00+00:00",
}
if seen != EXPECTED:
    sys.exit("The behaviour has changed.")
EOF
python program.py
