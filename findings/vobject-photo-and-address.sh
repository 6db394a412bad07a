#!/usr/bin/env bash
# Expected: a contact that is read and written keeps its photo and the address of its site. In a
# vCard, the value of a URI isn't split or escaped, because only the values of type TEXT are (RFC
# 6350, 4.1 and 4.2).
# Seen: vobject cuts the photo of a vCard 4.0, a data: URI, at the comma before its bytes, and
# writes `\;` for each semicolon in the address of a site, a link to another page. The numbers of
# telephones with `;ext=` get it, too.
# It matters for programs that change one field of a contact and write the rest back.
# vobject 0.9.9; https://www.rfc-editor.org/rfc/rfc6350#section-4.2 and
# https://www.rfc-editor.org/rfc/rfc6350#section-6.2.4
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'vobject==0.9.9'
python --version
pip freeze

cat >program.py <<'EOF'
import sys

import vobject

LINES = {
    "PHOTO:data:image/gif;base64,R0lG": "PHOTO:data:image/gif\\;base64",
    "URL:https://example.com/map;x=1;y=2": "URL:https://example.com/map\\;x=1\\;y=2",
    "TEL;VALUE=uri:tel:+1-555-0100;ext=7": "TEL;VALUE=uri:tel:+1-555-0100\\;ext=7",
    "NOTE:pies\\; cakes": "NOTE:pies\\; cakes",
}
seen = {}
for line in LINES:
    card = f"BEGIN:VCARD\nVERSION:4.0\nFN:Ada\nN:;Ada;;;\n{line}\nEND:VCARD\n"
    written = vobject.readOne(card).serialize().splitlines()
    name = line.partition(":")[0]
    [seen[line]] = [other for other in written if other.startswith(name)]
    print(line, "is written as", seen[line])
if seen != LINES:
    sys.exit("The behaviour has changed.")
EOF
python program.py
