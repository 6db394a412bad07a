#!/usr/bin/env bash
# Expected: asn1tools decodes the GeneralizedTime 20240330120000Z to twelve o'clock in UTC, with
# each encoding rule. Z is UTC (X.680, 46), and DER and PER allow nothing else.
# Seen: with BER and OER the datetime is aware. With DER, PER and UPER it is naive, although the Z
# was in the data. A time in New York is encoded correctly, as 16:00:00Z, and comes back as 16:00
# without a zone. UTCTime is the same.
# It matters because timestamp() and astimezone() of a naive time take it for local time. Receivers
# of vehicle and mobile messages, which use PER, are hours off where their clock isn't UTC, and
# subtracting an aware time raises a TypeError only if the encoding rule changes.
# asn1tools 0.169.0; https://www.itu.int/rec/T-REC-X.680 (46), https://www.itu.int/rec/T-REC-X.690
# (11.7)
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'asn1tools==0.169.0'
python --version
pip freeze

cat >program.py <<'EOF'
import sys
from datetime import datetime, timedelta, timezone

import asn1tools

MODULE = """
Pies DEFINITIONS AUTOMATIC TAGS ::= BEGIN
Baked ::= GeneralizedTime
Sold ::= UTCTime
END
"""
time = datetime(2024, 3, 30, 12, 0, 7, tzinfo=timezone(timedelta(hours=-4)))
seen = {}
for rule in "ber", "oer", "der", "per", "uper":
    module = asn1tools.compile_string(MODULE, rule)
    for name in "Baked", "Sold":
        data = module.encode(name, time)
        result = module.decode(name, data)
        print(rule, name, data, "->", result)
        seen[rule, name] = result
aware = {key for key, result in seen.items() if result.tzinfo}
if aware != {(rule, name) for rule in ("ber", "oer") for name in ("Baked", "Sold")} or any(
    result != (time if key in aware else datetime(2024, 3, 30, 16, 0, 7))
    for key, result in seen.items()
):
    sys.exit("The behaviour has changed.")
EOF
python program.py
