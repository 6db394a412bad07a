#!/usr/bin/env bash
# Expected: {{#readings}}<{{.}}>{{/readings}} is rendered once for each item of a list, as the
# manual of Mustache says, so 3, 0 and 5 are <3><0><5>.
# Seen: chevron leaves out all items that Python takes for false: <3><5>. Zeros, empty strings,
# False, 0.0 and empty objects are missing, with the literal text around them. pystache renders all
# of them. Outside of a list, {{zero}} is 0 in both, since chevron makes an exception for it.
# It matters for tables: a row has fewer cells than the head, and values stand under a wrong title.
# chevron 0.14.0, beside pystache 0.6.8; render() in the package's chevron/renderer.py;
# https://mustache.github.io/mustache.5.html
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'chevron==0.14.0' 'pystache==0.6.8'
python --version
pip freeze

cat >program.py <<'EOF'
import sys

import chevron
import pystache

DATA = {"zero": 0, "readings": [3, 0, 5], "words": ["a", "", "b"], "rows": [{"n": 1}, {}]}
seen = {}
for name, render in (("chevron", chevron.render), ("pystache", pystache.render)):
    seen[name] = render("{{#readings}}<{{.}}>{{/readings}}", DATA)
    print(f"{name}: zero is {render('{{zero}}', DATA)}, readings {seen[name]}")
    print("    words", render("{{#words}}<{{.}}>{{/words}}", DATA), end=", ")
    print("rows", render("{{#rows}}<tr>{{n}}</tr>{{/rows}}", DATA))
if seen != {"chevron": "<3><5>", "pystache": "<3><0><5>"}:
    sys.exit("The behaviour has changed.")
EOF
python program.py
