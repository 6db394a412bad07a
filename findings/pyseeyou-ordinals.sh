#!/usr/bin/env bash
# Expected: pyseeyou formats messages of ICU: with selectordinal, 22 is "22nd", and a doubled
# apostrophe is one, since a single one begins a quotation.
# Seen: each selectordinal is the text None, whatever the number, and whether a case for the number
# or only "other" exists. Doubled apostrophes stay doubled. plural, select and offset are right.
# Neither an exception nor a warning follows.
# It matters for translated texts that are shared with a browser or an app, where ICU's own library
# or FormatJS reads the same files: "None floor", and "it''s" in French and English.
# pyseeyou 1.0.2; the package's pyseeyou/node_visitor.py;
# https://developer.android.com/reference/android/icu/text/MessagePattern.ApostropheMode
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'pyseeyou==1.0.2'
python --version
pip freeze

cat >program.py <<'EOF'
import sys

from pyseeyou import format as render

FLOOR = "{n, selectordinal, one {#st} two {#nd} few {#rd} other {#th}} floor"
EXPECTED = {
    "{n, plural, one {# floor} other {# floors}}": "22 floors",
    FLOOR: "None floor",
    "{n, selectordinal, other {#th}} floor": "None floor",
    "{n} o''clock": "22 o''clock",
}
seen = {message: render(message, {"n": 22}, "en") for message in EXPECTED}
print(*(f"{message}: {text}" for message, text in seen.items()), sep="\n")
if seen != EXPECTED:
    sys.exit("The behaviour has changed.")
EOF
python program.py
