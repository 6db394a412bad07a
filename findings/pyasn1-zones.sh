#!/usr/bin/env bash
# Expected: GeneralizedTime.fromDateTime(time).asDateTime is the same time. West of Greenwich, the
# ASN.1 text ends in "-0500" (X.680, section 46), and "2024031812.5Z" is half past twelve.
# Seen: pyasn1 writes "+1900" for -05:00, so the time is 24 hours early. For India it writes
# "+051800", which it can't read itself. Only whole hours east of Greenwich are right. It reads
# "2024031812.5Z" as half a second after twelve, because it takes each fraction for one of a second.
# It matters for certificates, time stamps and LDAP: a signed time from New York is a day early,
# and on a server that runs in UTC, or in Europe, every test passes.
# pyasn1 0.6.5; https://www.itu.int/rec/T-REC-X.680, section 46 (GeneralizedTime);
# https://github.com/pyasn1/pyasn1/blob/main/pyasn1/type/useful.py, TimeMixIn
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'pyasn1==0.6.5'
python --version
pip freeze

cat >program.py <<'EOF'
import sys
from datetime import datetime, timedelta, timezone

from pyasn1.error import PyAsn1Error
from pyasn1.type.useful import GeneralizedTime, UTCTime

seen = {}
for name, offset in (
    ("UTC", timedelta()),
    ("Berlin", timedelta(hours=1)),
    ("New York", timedelta(hours=-5)),
    ("Mumbai", timedelta(hours=5, minutes=30)),
):
    time = datetime(2024, 1, 18, 12, tzinfo=timezone(offset))
    for kind in GeneralizedTime, UTCTime:
        value = kind.fromDateTime(time)
        try:
            error = str(value.asDateTime - time)
        except PyAsn1Error as exception:
            error = type(exception).__name__
        print(f"{name}: {time} is written as {value}, read with an error of {error}")
        if str(value).removeprefix("20") != str(GeneralizedTime.fromDateTime(time))[2:]:
            sys.exit("The behaviour has changed.")
    seen[name] = str(value)[12:], error
half = GeneralizedTime("2024031812.5Z").asDateTime
print("2024031812.5Z is read as", half)
if str(half) != "2024-03-18 12:00:00.500000+00:00" or seen != {
    "UTC": ("Z", "0:00:00"),
    "Berlin": ("+0100", "0:00:00"),
    "New York": ("+1900", "-1 day, 0:00:00"),
    "Mumbai": ("+051800", "PyAsn1Error"),
}:
    sys.exit("The behaviour has changed.")
EOF
python program.py
