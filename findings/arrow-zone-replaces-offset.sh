#!/usr/bin/env bash
# Expected: the zone that arrow.get() gets as `tzinfo` is for texts without one. If the text has an
# offset, it is the same moment, at most converted to the zone.
# Seen: the zone replaces the offset. "2024-01-01T10:00:00Z" in New York is ten o'clock there, which
# is five hours later. An aware datetime, and a timestamp that is a text, are changed in the same
# way; a timestamp that is a number isn't.
# It matters for programs that set a default zone for their input: everything is right until a
# client sends Z, which JavaScript always does, and then it is off by hours without an exception.
# arrow 1.4.0; https://arrow.readthedocs.io/en/latest/api-guide.html#arrow.factory.ArrowFactory.get
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'arrow==1.4.0' 'tzdata==2026.6'
python --version
pip freeze

cat >program.py <<'EOF'
import sys
from datetime import datetime, timezone

import arrow

ZONE = "America/New_York"
moment = datetime(2024, 1, 1, 10, tzinfo=timezone.utc)
seen = {
    "a text without an offset": arrow.get("2024-01-01T05:00:00", tzinfo=ZONE),
    "a text with Z": arrow.get("2024-01-01T10:00:00Z", tzinfo=ZONE),
    "a text with +02:00": arrow.get("2024-01-01T12:00:00+02:00", tzinfo=ZONE),
    "an aware datetime": arrow.get(moment, tzinfo=ZONE),
    "a timestamp": arrow.get(moment.timestamp(), tzinfo=ZONE),
    "a timestamp as a text": arrow.get(f"{moment.timestamp():.0f}", "X", tzinfo=ZONE),
}
hours = {}
for name, result in seen.items():
    hours[name] = (result.timestamp() - moment.timestamp()) / 3600
    print(f"{name}: {result}, {hours[name]:.0f} hours late")
if [*hours.values()] != [0, 5, 7, 5, 0, 5]:
    sys.exit("The behaviour has changed.")
EOF
python program.py
