#!/usr/bin/env bash
# Expected: HTML that is converted to Markdown and back shows the same words. A word may have bold
# letters inside, and CommonMark allows un**believ**able (6.2).
# Seen: html2text adds a space behind the emphasis: "un**believ** able", "**10** km" for 10km,
# "**50** %", and "H _2_ O". A paragraph that begins with a number sign becomes a heading.
# It matters for mails and articles whose first letter or numbers are bold: the words are broken in
# search and in print.
# html2text 2025.4.15, read by markdown-it-py 4.3.0;
# https://spec.commonmark.org/0.31.2/#emphasis-and-strong-emphasis
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'html2text==2025.4.15' 'markdown-it-py==4.3.0'
python --version
pip freeze

cat >program.py <<'EOF'
import re
import sys

import html2text
import markdown_it

EXPECTED = {
    "un<b>believ</b>able": "un**believ** able",
    "<b>10</b>km": "**10** km",
    "<b>50</b>%": "**50** %",
    "H<em>2</em>O": "H _2_ O",
    "# 5 Main Street": "# 5 Main Street",
}
seen = {}
for html in EXPECTED:
    text = html2text.html2text(f"<p>{html}</p>").strip()
    seen[html] = text
    back = markdown_it.MarkdownIt().render(text).strip()
    print(html, "|", text, "|", back, "|", re.sub("<.*?>", "", back))
if seen != EXPECTED:
    sys.exit("The behaviour has changed.")
EOF
python program.py
