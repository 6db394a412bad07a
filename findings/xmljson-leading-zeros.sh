#!/usr/bin/env bash
# Expected: the text of an XML element without a schema is text. 01067 stays a postal code, 1.50 a
# version, 1_000 a name. The BadgerFish convention puts an element's text into "$" as it is.
# Seen: xmljson's conventions BadgerFish, Parker, GData and Abdera make numbers of what Python can
# convert: 1067, 1.5, 1000 for 1_000, and 1000.0 for 1e3. Attributes are converted, too. Cobra and
# Yahoo leave texts alone.
# It matters for codes of any kind: written back to XML, they are others. `xml_fromstring=False`
# switches the conversion off.
# xmljson 0.2.1; http://www.sklar.com/badgerfish/; https://github.com/sanand0/xmljson
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'xmljson==0.2.1'
python --version
pip freeze

cat >program.py <<'EOF'
import json
import sys
import xml.etree.ElementTree

import xmljson

TEXTS = ["01067", "1.50", "1_000", "1e3", "+49", "true", "0x1F", "1,5"]
seen = {}
for convention in (xmljson.badgerfish, xmljson.yahoo):
    name = type(convention).__name__
    values = []
    for text in TEXTS:
        root = xml.etree.ElementTree.XML(f"<pie><code>{text}</code></pie>")
        value = convention.data(root)["pie"]["code"]
        values.append(value if isinstance(value, str) else value["$"])
    seen[name] = json.dumps(values)
    print(name, seen[name])
if seen != {
    "BadgerFish": '[1067, 1.5, 1000, 1000.0, 49, true, "0x1F", "1,5"]',
    "Yahoo": json.dumps(TEXTS),
}:
    sys.exit("The behaviour has changed.")
EOF
python program.py
