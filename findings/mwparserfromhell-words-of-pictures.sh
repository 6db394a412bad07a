#!/usr/bin/env bash
# Expected: strip_code() gives the text that a reader of the wiki page sees.
# Seen: the options of a picture are part of it, "thumb|A caption", and so is the name of a
# category, "Category:Pies", directly before the next word. Footnotes join the word before them.
# Templates vanish with their words, as documented: "a {{lang|fr|tarte}}" is "a ".
# It matters for searches and for training language models, where it is the usual way to get
# Wikipedia's text: numbers in {{convert}} are missing, and words are glued together.
# mwparserfromhell 0.7.2;
# https://mwparserfromhell.readthedocs.io/en/latest/api/mwparserfromhell.html (Wikicode.strip_code)
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'mwparserfromhell==0.7.2'
python --version
pip freeze

cat >program.py <<'EOF'
import sys

import mwparserfromhell

EXPECTED = {
    "[[File:pie.jpg|thumb|A pie]] text": "thumb|A pie text",
    "[[Category:Pies]]Pies are": "Category:PiesPies are",
    "pies<ref>Doe 2024</ref>": "piesDoe 2024",
    "a {{lang|fr|tarte}} of {{convert|5|km}}": "a  of ",
    "[[Pie|pies]] and [https://example.com more]": "pies and more",
}
seen = {text: str(mwparserfromhell.parse(text).strip_code()) for text in EXPECTED}
for text, stripped in seen.items():
    print(text, "->", repr(stripped))
if seen != EXPECTED:
    sys.exit("The behaviour has changed.")
EOF
python program.py
