#!/usr/bin/env bash
# Expected: in Genshi, `checked="$done"` with False leaves the attribute out, as it does with None.
# Seen: False is written as a text, and in HTML the attribute becomes `checked` alone. So a box is
# checked for True and for False. Only None, "" and an empty list leave it out. Bytes are a list of
# numbers: b"pie" is 112105101. Chameleon leaves `checked` out.
# It matters for forms: a setting that is off is shown as on, and the next time that the form is
# saved it is.
# Genshi 0.7.12, beside Chameleon 4.6.0;
# https://genshi.edgewall.org/wiki/Documentation/xml-templates.html
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'Genshi==0.7.12' 'Chameleon==4.6.0'
python --version
pip freeze

cat >program.py <<'EOF'
import sys

import chameleon
from genshi.template import MarkupTemplate

BOX = '<input type="checkbox" checked="${done}"/>'
seen = {}
for done in True, False, None, "":
    page = MarkupTemplate(BOX).generate(done=done).render("html")
    other = chameleon.PageTemplate(BOX)(done=done)
    seen[repr(done)] = ("checked" in page, 'checked="' in other)
    print(f"{done!r}: Genshi {page}, Chameleon {other}")
seen["b'pie'"] = MarkupTemplate("<p>$name</p>").generate(name=b"pie").render("html")
print(seen["b'pie'"])
EXPECTED = {
    "True": (True, True),
    "False": (True, False),
    "None": (False, False),
    "''": (False, False),
    "b'pie'": "<p>112105101</p>",
}
if seen != EXPECTED:
    sys.exit("The behaviour has changed.")
EOF
python program.py
