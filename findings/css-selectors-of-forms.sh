#!/usr/bin/env bash
# Expected: a CSS selector finds the same elements of an HTML page with two libraries, since both
# parse the page as HTML.
# Seen: `input[type=text]` doesn't find `type="TEXT"` with cssselect in lxml, as it does with
# soupsieve and in a browser. `option:checked` finds nothing with the first and the preselected
# option with the second. For soupsieve, a paragraph with a space is :empty, in no browser.
# It matters for scrapers and tests that are moved from one parser to the other, often for speed:
# fields of a form are missing, without an error.
# cssselect 1.6.0 in lxml 6.1.3, soupsieve 4.1.3 in Beautiful Soup 4.15.0;
# https://html.spec.whatwg.org/multipage/semantics-other.html#case-sensitivity-of-selectors
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check \
    'cssselect==1.6.0' 'lxml==6.1.3' 'soupsieve==4.1.3' 'beautifulsoup4==4.15.0'
python --version
pip freeze

cat >program.py <<'EOF'
import sys

import bs4
import lxml.html
from lxml.cssselect import CSSSelector

PAGE = """<!doctype html><title>Pies</title>
<form><input type="TEXT" id="name"><input type="text" id="city">
<select><option id="one">1<option id="two">2</select></form>
<p id="none"></p><p id="space"> </p>"""
tree = lxml.html.document_fromstring(PAGE)
soup = bs4.BeautifulSoup(PAGE, "lxml")
EXPECTED = {
    "input[type=text]": (["city"], ["name", "city"]),
    "option:checked": ([], ["one"]),
    "p:empty": (["none"], ["none", "space"]),
    "form > input:first-child": (["name"], ["name"]),
}
seen = {}
for text in EXPECTED:
    by_lxml = [element.get("id") for element in CSSSelector(text, translator="html")(tree)]
    seen[text] = (by_lxml, [element.get("id") for element in soup.select(text)])
    print(text, "lxml:", seen[text][0], "Beautiful Soup:", seen[text][1])
if seen != EXPECTED:
    sys.exit("The behaviour has changed.")
EOF
python program.py
