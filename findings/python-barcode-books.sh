#!/usr/bin/env bash
# Expected: the barcode of an ISBN-10 is that of the ISBN-13 of the same book, and the barcode of an
# ISSN is an EAN-13 that begins with 977.
# Seen: python-barcode cuts both down to as many digits as the given number has, without an error.
# The drawing of 0-306-40615-2 shows 9780306401, and no reader reads it. That of its ISBN-13 is
# right.
# It matters for shops and libraries with older books and for magazines: it is noticed when the
# labels are printed. Convert an ISBN-10 first. python-barcode 0.16.1 (0.15.1 does the same), read
# by zxing-cpp 3.1.1;
# https://github.com/WhyNotHugo/python-barcode/blob/main/src/barcode/isxn.py
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'python-barcode[images]==0.16.1' 'zxing-cpp==3.1.1'
python --version
pip freeze

cat >program.py <<'EOF'
import sys

import barcode
import zxingcpp
from barcode.writer import ImageWriter

seen = []
for kind, number in (
    ("isbn10", "0306406152"),
    ("isbn13", "9780306406157"),
    ("issn", "0317-8471"),
    ("ean13", "9770317847001"),
):
    made = barcode.get(kind, number, writer=ImageWriter())
    read = [one.text for one in zxingcpp.read_barcodes(made.render())]
    print(kind, number, "| text below the bars:", made.get_fullcode(), "| a reader reads:", read)
    seen.append((made.get_fullcode(), read))
if seen != [
    ("9780306401", []),
    ("9780306406157", ["9780306406157"]),
    ("97703174", []),
    ("9770317847001", ["9770317847001"]),
]:
    sys.exit("The behaviour has changed.")
EOF
python program.py
