#!/usr/bin/env bash
# Expected: simplekml escapes all texts alike: "Fish & chips" as a name, an address or a value of
# the extended data.
# Seen: names, descriptions and links are escaped, addresses and values aren't. kml() raises an
# ExpatError that names a column of a document that nobody has seen, and kml(format=False) writes
# invalid XML. A value "<b>x</b>" becomes an element.
# It matters for exports of shops and places: they work until the first "& Sons", and escaping each
# text beforehand escapes names twice.
# simplekml 1.3.6; Kmlable.__str__ in the package's simplekml/base.py
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'simplekml==1.3.6'
python --version
pip freeze

cat >program.py <<'EOF'
import sys
import xml.etree.ElementTree
from xml.parsers.expat import ExpatError

import simplekml

TEXT = "Fish & chips"
seen = {}
for place in "name", "description", "address", "value":
    kml = simplekml.Kml()
    point = kml.newpoint(coords=[(1, 2)])
    if place == "value":
        point.extendeddata.newdata("kind", TEXT)
    else:
        setattr(point, place, TEXT)
    try:
        formatted = "&amp;" in kml.kml()
    except ExpatError as error:
        formatted = type(error).__name__
    try:
        plain = bool(xml.etree.ElementTree.fromstring(kml.kml(format=False)) is not None)
    except xml.etree.ElementTree.ParseError as error:
        plain = type(error).__name__
    seen[place] = (formatted, plain)
    print(place, *seen[place])
EXPECTED = {
    "name": (True, True),
    "description": (True, True),
    "address": ("ExpatError", "ParseError"),
    "value": ("ExpatError", "ParseError"),
}
if seen != EXPECTED:
    sys.exit("The behaviour has changed.")
EOF
python program.py
