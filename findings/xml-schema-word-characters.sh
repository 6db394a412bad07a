#!/usr/bin/env bash
# Expected: two validators agree on the pattern \w+ of an XML Schema, which is letters, digits and
# the underscore.
# Seen: for libxml2 "a_b" is invalid and "€" valid, as XML Schema defines \w: all but punctuation,
# separators and control characters. The underscore is punctuation. For xmlschema it is the other
# way round, because it takes the \w of Python's re.
# It matters for identifiers: a document that the sender has validated is refused by the receiver,
# and both use "the schema".
# xmlschema 4.3.2, lxml 6.1.3; https://www.w3.org/TR/xmlschema-2/#cces-mce
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

SCHEMA = r"""<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema"><xs:element name="pie">
<xs:simpleType><xs:restriction base="xs:string"><xs:pattern value="\w+"/></xs:restriction>
</xs:simpleType></xs:element></xs:schema>"""
first = lxml.etree.XMLSchema(lxml.etree.fromstring(SCHEMA))
second = xmlschema.XMLSchema(SCHEMA)
seen = {}
for text in "abc", "a_b", "€", "a+b", "a-b":
    document = f"<pie>{text}</pie>"
    seen[text] = (first.validate(lxml.etree.fromstring(document)), second.is_valid(document))
    print(text, "libxml2: {}, xmlschema: {}".format(*seen[text]))
EXPECTED = {
    "abc": (True, True),
    "a_b": (False, True),
    "€": (True, False),
    "a+b": (True, False),
    "a-b": (False, False),
}
if seen != EXPECTED:
    sys.exit("The behaviour has changed.")
EOF
python program.py
