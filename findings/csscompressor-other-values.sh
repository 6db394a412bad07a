#!/usr/bin/env bash
# Expected: a minified style sheet means the same.
# Seen: csscompressor shortens `flex: 0 0 0%` to `flex: 0`, whose second number is 1, so boxes
# shrink. `--gap: 0px` becomes `--gap:0`, with which calc(100% - var(--gap)) is invalid, min(0px,
# 1em) becomes min(0,1em), which is invalid too, and `@supports not (` becomes `@supports not(`,
# which browsers skip. rcssmin keeps them.
# It matters because the layout breaks in production only, where style sheets are minified, and the
# source is correct.
# csscompressor 0.9.5, beside rcssmin 1.3.0; https://www.w3.org/TR/css-flexbox-1/#flex-common;
# https://www.w3.org/TR/css-values-4/#calc-type-checking
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'csscompressor==0.9.5' 'rcssmin==1.3.0'
python --version
pip freeze

cat >program.py <<'EOF'
import sys

import csscompressor
import rcssmin

EXPECTED = {
    "a{flex:0 0 0%}": "a{flex:0}",
    "a{--gap:0px}": "a{--gap:0}",
    "a{width:min(0px,1em)}": "a{width:min(0,1em)}",
    "@supports not (gap:0){a{b:c}}": "@supports not(gap:0){a{b:c}}",
    "a{width:calc(100% - 0px)}": "a{width:calc(100% - 0px)}",
}
seen = {text: csscompressor.compress(text) for text in EXPECTED}
for text, written in seen.items():
    print(text, "csscompressor:", written, "rcssmin:", rcssmin.cssmin(text))
if seen != EXPECTED or any(rcssmin.cssmin(text) != text for text in EXPECTED):
    sys.exit("The behaviour has changed.")
EOF
python program.py
