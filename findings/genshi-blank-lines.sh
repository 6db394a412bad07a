#!/usr/bin/env bash
# Expected: a template writes a text that it gets as it is, only escaped.
# Seen: rendering removes the blank lines and the spaces at the ends of lines of the whole page,
# those of variables included. A message of three paragraphs is one, in an element with
# `white-space: pre-wrap` or in <code> too. <pre> and <textarea> keep it.
# It matters for pages that show messages, poems or code: paragraphs run together, and a text that
# is copied or signed differs from what is stored. strip_whitespace=False keeps it.
# Genshi 0.7.12; https://genshi.edgewall.org/wiki/Documentation/streams.html (strip_whitespace)
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'Genshi==0.7.12'
python --version
pip freeze

cat >program.py <<'EOF'
import sys

from genshi.template import MarkupTemplate

MESSAGE = "first  \nline\n\n\nsecond paragraph"
seen = {}
for start, end in ('<p style="white-space: pre-wrap">', "</p>"), ("<code>", "</code>"), (
    "<pre>",
    "</pre>",
):
    stream = MarkupTemplate(f"{start}$text{end}").generate(text=MESSAGE)
    seen[end] = stream.render("html").removeprefix(start).removesuffix(end)
    print(start, repr(seen[end]))
CHANGED = "first\nline\nsecond paragraph"
EXPECTED = {"</p>": CHANGED, "</code>": CHANGED, "</pre>": MESSAGE}
if seen != EXPECTED:
    sys.exit("The behaviour has changed.")
EOF
python program.py
