#!/usr/bin/env bash
# Expected: a memo with two lines in the QR code of a contact is a NOTE with a \n in it, since a
# line break ends a property of a vCard (RFC 2426, section 5). In the MeCard of the same library, it
# is part of the memo, too.
# Seen: segno escapes commas and semicolons, but writes the line break as it is. The second line is
# a line without a name, and for vobject the whole contact is invalid.
# It matters for badges and stickers, which are printed: some telephones drop the second line,
# others refuse the contact.
# segno 1.6.6, beside vobject 0.9.9; https://www.rfc-editor.org/rfc/rfc2426#section-5
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'segno==1.6.6' 'vobject==0.9.9'
python --version
pip freeze

cat >program.py <<'EOF'
import sys

import vobject
from segno import helpers

seen = {}
for memo in ("Gate 5; ring twice", "Gate 5\nring twice"):
    text = helpers.make_vcard_data("Doe;John", "John Doe", memo=memo)
    try:
        seen[memo] = vobject.readOne(text).note.value
    except vobject.base.ParseError as error:
        seen[memo] = type(error).__name__
    print(f"{memo!r}: {text.splitlines()[4:-1]}, read as {seen[memo]}")
if seen != {
    "Gate 5; ring twice": "Gate 5; ring twice",
    "Gate 5\nring twice": "ParseError",
}:
    sys.exit("The behaviour has changed.")
EOF
python program.py
