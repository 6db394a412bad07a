#!/usr/bin/env bash
# Expected: a minifier keeps what is in quotation marks.
# Seen: rcssmin removes the spaces of a quoted address: url("a pie.png") becomes url("apie.png").
# csscompressor keeps them, and removes those in the address of an embedded image,
# data:image/svg+xml, where rcssmin keeps them: <svg width='1'/> becomes <svgwidth='1'/>, which no
# browser shows. Other strings stay.
# It matters because the image is missing in production only, where style sheets are minified, and
# for an embedded one nothing appears in the server's log.
# rcssmin 1.3.0, csscompressor 0.9.5; https://www.w3.org/TR/css-values-4/#urls
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'rcssmin==1.3.0' 'csscompressor==0.9.5'
python --version
pip freeze

cat >program.py <<'EOF'
import sys

import csscompressor
import rcssmin

FILE = 'a{b:url("a pie.png")}'
IMAGE = "a{b:url(\"data:image/svg+xml,<svg width='1'/>\")}"
TEXT = 'a{content:"a pie"}'
seen = {text: (rcssmin.cssmin(text), csscompressor.compress(text)) for text in (FILE, IMAGE, TEXT)}
for text, (first, second) in seen.items():
    print(text, "rcssmin:", first, "csscompressor:", second)
EXPECTED = {
    FILE: ('a{b:url("apie.png")}', FILE),
    IMAGE: (IMAGE, IMAGE.replace("svg width", "svgwidth")),
    TEXT: (TEXT, TEXT),
}
if seen != EXPECTED:
    sys.exit("The behaviour has changed.")
EOF
python program.py
