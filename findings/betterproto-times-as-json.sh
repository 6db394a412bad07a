#!/usr/bin/env bash
# Expected: a time in a protobuf message is the same moment in binary and as JSON, where it ends in
# Z and is in UTC, and a duration as JSON has no exponent (protobuf, "ProtoJSON format").
# Seen: betterproto writes the clock of the zone with a Z behind it. 12:00 at +02:00 is 10:00 in
# binary, which is right, and 12:00Z as JSON, two hours late. In binary, half a second before 1970
# is half a second after it, and minus 1.5 seconds are minus 0.5. Five microseconds are "5e-06s" as
# JSON, which protobuf refuses.
# It matters for services that offer gRPC and JSON: they return two times for one event. With times
# in UTC all is right.
# betterproto 1.2.5, beside protobuf 7.36.2; https://protobuf.dev/programming-guides/json/;
# https://github.com/danielgtaylor/python-betterproto
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'betterproto==1.2.5' 'protobuf==7.36.2'
python --version
pip freeze

cat >program.py <<'EOF'
import json
import sys
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

import betterproto
from google.protobuf.duration_pb2 import Duration
from google.protobuf.json_format import ParseError, Parse


@dataclass
class Event(betterproto.Message):
    at: datetime = betterproto.message_field(1)
    lasts: timedelta = betterproto.message_field(2)


NOON = datetime(2024, 6, 1, 12, tzinfo=timezone(timedelta(hours=2)))
EARLY = datetime(1969, 12, 31, 23, 59, 59, 500000, tzinfo=timezone.utc)
seen = {}
for name, value in {"noon": NOON, "early": EARLY}.items():
    event = Event(at=value)
    read = Event().parse(bytes(event)).at
    seen[name] = json.loads(event.to_json())["at"], read.isoformat()
for name, seconds in {"negative": -1.5, "short": 0.000005}.items():
    event = Event(lasts=timedelta(seconds=seconds))
    read = Event().parse(bytes(event)).lasts
    seen[name] = json.loads(event.to_json())["lasts"], read.total_seconds()
for name, (text, value) in seen.items():
    print(f"{name}: as JSON {text}, in binary {value}")
try:
    Parse(json.dumps(seen["short"][0]), Duration())
    accepted = True
except ParseError as error:
    accepted = False
    print(error)
if accepted or seen != {
    "noon": ("2024-06-01T12:00:00Z", "2024-06-01T10:00:00+00:00"),
    "early": ("1969-12-31T23:59:59.500Z", "1970-01-01T00:00:00.500000+00:00"),
    "negative": ("-1.500s", -0.5),
    "short": ("5e-06s", 0.000005),
}:
    sys.exit("The behaviour has changed.")
EOF
python program.py
