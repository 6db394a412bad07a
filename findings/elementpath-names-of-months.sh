#!/usr/bin/env bash
# Expected: in XPath, format-date($date, '[D] [MNn] [Y]') is "5 March 2024". Without an argument for
# the language, an implementation uses its default language.
# Seen: elementpath writes the number, "5 3 2024", and for the day of the week, [FNn], "2". Only
# with the language as a third argument there is a name. [MNn,3-3], which should be Mar, is 003. The
# text of a double isn't XPath's either: 1.0E-5 is 1E-05. No error is raised.
# It matters for reports that worked with another processor. The expression is right, and so is the
# result as long as nobody reads it.
# elementpath 5.1.4; https://www.w3.org/TR/xpath-functions-31/#rules-for-datetime-formatting and
# https://www.w3.org/TR/xpath-functions-31/#casting-to-string
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'elementpath==5.1.4'
python --version
pip freeze

cat >program.py <<'EOF'
import sys
import xml.etree.ElementTree

import elementpath
from elementpath.xpath3 import XPath3Parser

DATE = "xs:date('2024-03-05')"
EXPECTED = {
    f"format-date({DATE}, '[D] [MNn] [Y]')": "5 3 2024",
    f"format-date({DATE}, '[D] [MNn] [Y]', 'en', (), ())": "5 March 2024",
    f"format-date({DATE}, '[FNn]')": "2",
    f"format-date({DATE}, '[MNn,3-3]')": "003",
    f"format-date({DATE}, '[MNn,3-3]', 'en', (), ())": "Mar",
    "string(0.00001e0)": "1E-05",
}
root = xml.etree.ElementTree.XML("<pies/>")
seen = {text: elementpath.select(root, text, parser=XPath3Parser) for text in EXPECTED}
for text, result in seen.items():
    print(text, "is", result)
if seen != EXPECTED:
    sys.exit("The behaviour has changed.")
EOF
python program.py
