#!/usr/bin/env bash
# Expected: what a model of pydantic-xml writes is valid for the schema with the types xs:decimal,
# xs:double and xs:string, and is the same when it is read.
# Seen: a Decimal that is zero with eight places, as a database returns it, is written as 0E-8, and
# 1E+2 as 1E+2, but xs:decimal has no exponent. Infinity is inf in place of INF. An empty text is
# read as a missing one: for a field that isn't optional, the model can't read what it has written.
# It matters for invoices and messages that another program validates: most amounts are right, and
# the one of zero is refused.
# pydantic-xml 2.22.0, pydantic 2.14.4, xmlschema 4.3.2; https://www.w3.org/TR/xmlschema-2/#decimal;
# https://pydantic-xml.readthedocs.io/
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check \
    'pydantic-xml==2.22.0' 'pydantic==2.14.4' 'xmlschema==4.3.2'
python --version
pip freeze

cat >program.py <<'EOF'
import sys
from decimal import Decimal

import xmlschema
from pydantic import ValidationError
from pydantic_xml import BaseXmlModel, element

SCHEMA = xmlschema.XMLSchema("""<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema">
<xs:element name="pie"><xs:complexType><xs:sequence>
<xs:element name="price" type="xs:decimal"/><xs:element name="size" type="xs:double"/>
<xs:element name="note" type="xs:string"/>
</xs:sequence></xs:complexType></xs:element></xs:schema>""")


class Pie(BaseXmlModel, tag="pie"):
    price: Decimal = element()
    size: float = element()
    note: str = element()


def check(price, size, note):
    text = Pie(price=Decimal(price), size=size, note=note).to_xml().decode()
    try:
        Pie.from_xml(text)
        read = True
    except ValidationError:
        read = False
    print(f"{text}: valid {SCHEMA.is_valid(text)}, can be read {read}")
    return SCHEMA.is_valid(text), read


seen = [
    check("1.50", 2.5, "x"),
    check("0.00000000", 2.5, "x"),
    check("1E+2", 2.5, "x"),
    check("1.50", float("inf"), "x"),
    check("1.50", 2.5, ""),
]
if seen != [(True, True), (False, True), (False, True), (False, True), (True, False)]:
    sys.exit("The behaviour has changed.")
EOF
python program.py
