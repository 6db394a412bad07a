#!/usr/bin/env bash
# Expected: a mail whose styles are moved into attributes looks as before. A declaration with
# !important wins over the style attribute, and margin in the attribute over margin-left in the
# style sheet (CSS Cascade, 6.1).
# Seen: premailer drops !important, so the attribute's blue wins over the style sheet's red. With
# "margin: 0 auto; margin-left: 5px" in the style sheet and "margin: 1px" in the attribute,
# margin-left comes last and wins. A background is blue in the style and red in the added attribute
# bgcolor.
# It matters for the templates of newsletters: they look right in a browser and different in the
# mail.
# premailer 3.10.0, cssutils 2.15.0; https://www.w3.org/TR/css-cascade-4/#cascade-sort
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'premailer==3.10.0' 'cssutils==2.15.0'
python --version
pip freeze

cat >program.py <<'EOF'
import re
import sys

import premailer

EXPECTED = {
    ("p { color: red !important }", "color:blue"): 'style="color:blue"',
    ("p { margin: 0 auto; margin-left: 5px }", "margin:1px"): (
        'style="margin:1px; margin-left:5px"'
    ),
    ("p { background-color: red }", "background:blue"): (
        'style="background-color:red; background:blue" bgcolor="red"'
    ),
    ("p { color: red }", "color:blue"): 'style="color:blue"',
}
seen = {}
for sheet, style in EXPECTED:
    page = f'<style>{sheet}</style><p style="{style}">pie</p>'
    [seen[sheet, style]] = re.findall("<p (.*?)>", premailer.transform(page))
    print(sheet, "|", style, "|", seen[sheet, style])
if seen != EXPECTED:
    sys.exit("The behaviour has changed.")
EOF
python program.py
