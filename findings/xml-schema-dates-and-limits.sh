#!/usr/bin/env bash
# Expected: two validators agree whether a date, a time or a duration is within the limits of a
# schema.
# Seen: for libxml2, 2024-01-01Z isn't at or after 2024-01-01, 13:00:00+02:00 isn't at or before
# 12:00:00, and P30D isn't at most P1M, since XML Schema has no answer if one value has a zone and
# the other none, or for 30 days beside a month. xmlschema says yes to all three. libxml2 also
# accepts "1e" as a double, and 16777217 as a float that is at most 16777216.
# It matters for orders and bookings, whose schemas have limits: senders that add "Z" are refused by
# one partner only.
# xmlschema 4.3.2, lxml 6.1.3; https://www.w3.org/TR/xmlschema-2/#dateTime-order
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'xmlschema==4.3.2' 'lxml==6.1.3'
python --version
pip freeze

cat >program.py <<'EOF'
import sys

import lxml.etree
import xmlschema

EXPECTED = {
    ("date", "minInclusive", "2024-01-01", "2024-01-01"): (True, True),
    ("date", "minInclusive", "2024-01-01", "2024-01-01Z"): (False, True),
    ("time", "maxInclusive", "12:00:00", "13:00:00+02:00"): (False, True),
    ("duration", "maxInclusive", "P1M", "P30D"): (False, True),
    ("duration", "maxInclusive", "P1M", "P27D"): (True, True),
    ("double", "minInclusive", "0", "1e"): (True, False),
    ("float", "maxInclusive", "16777216", "16777217"): (True, False),
}
seen = {}
for kind, facet, limit, value in EXPECTED:
    schema = (
        '<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema"><xs:element name="pie">'
        f'<xs:simpleType><xs:restriction base="xs:{kind}"><xs:{facet} value="{limit}"/>'
        "</xs:restriction></xs:simpleType></xs:element></xs:schema>"
    )
    document = f"<pie>{value}</pie>"
    by_libxml2 = lxml.etree.XMLSchema(lxml.etree.fromstring(schema))
    seen[kind, facet, limit, value] = (
        by_libxml2.validate(lxml.etree.fromstring(document)),
        xmlschema.XMLSchema(schema).is_valid(document),
    )
    print(kind, facet, limit, value, "libxml2: {}, xmlschema: {}".format(
        *seen[kind, facet, limit, value]
    ))
if seen != EXPECTED:
    sys.exit("The behaviour has changed.")
EOF
python program.py
