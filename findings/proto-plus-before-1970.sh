#!/usr/bin/env bash
# Expected: proto-plus writes a datetime as a Timestamp and a timedelta as a Duration with the same
# value. In both, nanos counts from seconds: a Timestamp's nanos are never negative, and a
# Duration's have the sign of its seconds (timestamp.proto and duration.proto).
# Seen: a time before 1970 with a fraction is a second late: half a second before 1970 becomes half
# a second after it. A duration of -1.5 seconds becomes -2 seconds and 500,000,000 nanos, which is
# invalid: proto-plus reads it as it was, but protobuf can't write it as JSON. FromDatetime and
# FromTimedelta of protobuf are right.
# It matters for historic measurements, which change silently, and for negative intervals such as
# time shifts, which work in a test with one program and fail in the next service.
# proto-plus 1.29.0, protobuf 7.36.2;
# https://protobuf.dev/reference/protobuf/google.protobuf/#duration;
# https://github.com/googleapis/google-cloud-python/tree/main/packages/proto-plus,
# proto/marshal/rules/dates.py
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'proto-plus==1.29.0' 'protobuf==7.36.2'
python --version
pip freeze

cat >program.py <<'EOF'
import sys
from datetime import datetime, timedelta, timezone

import proto
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp


class Reading(proto.Message):
    time = proto.Field(Timestamp, number=1)
    shift = proto.Field(Duration, number=2)


seen = {}
for text in "1969-12-31T23:59:58", "1969-12-31T23:59:59.500", "1970-01-01T00:00:00.500":
    time = datetime.fromisoformat(text).replace(tzinfo=timezone.utc)
    own = Timestamp()
    own.FromDatetime(time)
    reading = Reading(time=time)
    pb = Reading.pb(reading).time
    print(f"{text}: proto-plus {pb.seconds}, {pb.nanos}, which is {reading.time}")
    print(f"  protobuf {own.seconds}, {own.nanos}, which is {own.ToDatetime()}")
    seen[text] = reading.time - time, own == pb
for seconds in 1.5, -1.5:
    shift = timedelta(seconds=seconds)
    own = Duration()
    own.FromTimedelta(shift)
    reading = Reading(shift=shift)
    pb = Reading.pb(reading).shift
    try:
        text = pb.ToJsonString()
    except ValueError as error:
        text = type(error).__name__
    print(f"{seconds} seconds: proto-plus {pb.seconds}, {pb.nanos}, JSON: {text}")
    print(f"  protobuf {own.seconds}, {own.nanos}, JSON: {own.ToJsonString()}")
    seen[seconds] = text, own == pb
if seen != {
    "1969-12-31T23:59:58": (timedelta(), True),
    "1969-12-31T23:59:59.500": (timedelta(seconds=1), False),
    "1970-01-01T00:00:00.500": (timedelta(), True),
    1.5: ("1.500s", True),
    -1.5: ("ValueError", False),
}:
    sys.exit("The behaviour has changed.")
EOF
python program.py
