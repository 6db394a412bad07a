#!/usr/bin/env bash
# Expected: what a SOAP client writes is valid for the types of the schema: infinity is INF in an
# xsd:double, and March is --03 in an xsd:gMonth (XML Schema, 3.2.5 and 3.2.14).
# Seen: zeep writes INF in an xsd:float, but inf in an xsd:double, and March as --3. The date of an
# xsd:date loses its zone. A date in an xsd:dateTime is written without a time.
# It matters because the server refuses the message, though the value came from the same library.
# zeep 4.3.3, isodate 0.7.2; https://www.w3.org/TR/xmlschema-2/#double and
# https://www.w3.org/TR/xmlschema-2/#gMonth
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'zeep==4.3.3' 'isodate==0.7.2'
python --version
pip freeze

cat >program.py <<'EOF'
import datetime
import sys

from zeep.xsd.types import builtins

EXPECTED = {
    ("Float", "INF"): "INF",
    ("Double", "INF"): "inf",
    ("gMonth", "--03"): "--3",
    ("gMonthDay", "--03-05"): "--03-05",
    ("Date", "2024-03-05+05:00"): "2024-03-05",
}
seen = {}
for name, text in EXPECTED:
    kind = getattr(builtins, name)()
    seen[name, text] = kind.xmlvalue(kind.pythonvalue(text))
    print(f"{name} {text} is written as {seen[name, text]}")
written = builtins.DateTime().xmlvalue(datetime.date(2024, 3, 5))
print("a date in an xsd:dateTime is written as", written)
if seen != EXPECTED or written != "2024-03-05":
    sys.exit("The behaviour has changed.")
EOF
python program.py
