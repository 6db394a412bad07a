#!/usr/bin/env bash
# Expected: the text of an RTF file is what its reader sees. Text that was deleted with tracked
# changes isn't there, nor is hidden text.
# Seen: striprtf knows neither \deleted nor \v. The deleted number stands directly before the one
# that replaces it: "100" and "120" become "100120". Hidden text is between the rest. Headers and
# footnotes, which a reader sees, are left out.
# It matters for contracts and letters that are indexed, compared or given to a language model:
# numbers and negations that nobody agreed to are part of the text.
# striprtf 0.0.35; the package's striprtf/striprtf.py;
# https://docslib.org/doc/6649763/rich-text-format-rtf-specification-version-1-9-1
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'striprtf==0.0.35'
python --version
pip freeze

cat >program.py <<'EOF'
import sys

from striprtf.striprtf import rtf_to_text

EXPECTED = {
    r"{\rtf1\ansi The price is 120 EUR.}": "The price is 120 EUR.",
    r"{\rtf1\ansi The price is {\deleted 100}{\revised 120} EUR.}": "The price is 100120 EUR.",
    r"{\rtf1\ansi\deleted 100\deleted0 120}": "100120",
    r"{\rtf1\ansi Pay now{\v  or never}.}": "Pay now or never.",
}
seen = {text: rtf_to_text(text) for text in EXPECTED}
print(*(f"{text}\n    {result}" for text, result in seen.items()), sep="\n")
if seen != EXPECTED:
    sys.exit("The behaviour has changed.")
EOF
python program.py
