#!/usr/bin/env bash
# Expected: =VALUE("1,234") is 1234, as in Excel with English settings, or an error.
# Seen: it is 85469, the number of 1 January 2134, because a text that isn't a plain number is read
# as a date, with dateutil. "1,234.5" is the same day, "2,500" one of the year 2400, and "1,000" the
# first day of the current year. "12,345" and "10%" are #VALUE!, where Excel has numbers.
# It matters for workbooks that clean up imported columns with VALUE, its most frequent use: amounts
# from 1,000 on become other numbers of a plausible size, and those from 10,000 on an error.
# formulas 1.3.4; xvalue in the package's formulas/functions/text.py, and formulas/functions/date.py
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'formulas==1.3.4'
python --version
pip freeze

cat >program.py <<'EOF'
import sys

import formulas
import numpy

EXPECTED = {
    '=VALUE("1234")': 1234,
    '=VALUE("1,234")': 85469,
    '=VALUE("1,234.5")': 85469,
    '=VALUE("2,500")': 182654,
    '=VALUE("12,345")': "#VALUE!",
    '=VALUE("10%")': "#VALUE!",
}
seen = {}
for text in EXPECTED:
    result = numpy.asarray(formulas.Parser().ast(text)[1].compile()()).ravel()[0]
    seen[text] = int(result) if isinstance(result, (int, float)) else str(result)
    print(f"{text}: {seen[text]}")
if seen != EXPECTED:
    sys.exit("The behaviour has changed.")
EOF
python program.py
