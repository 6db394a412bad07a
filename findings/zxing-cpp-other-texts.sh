#!/usr/bin/env bash
# Expected: create_barcode refuses a text that a kind of barcode can't hold, or makes a barcode that
# is read as the text.
# Seen: Code 39 has no small letters: the barcode of "abc" is read as "ABC". ITF has pairs of
# digits: that of "123" is read as "0123". Code 93 and Code 128 hold "abc". No exception follows,
# and the barcode's own text is the changed one.
# It matters for labels: identifiers that differ only in their case get one barcode, and a scanned
# number isn't found because of a zero.
# zxing-cpp 3.1.1, numpy 2.4.6; https://github.com/zxing-cpp/zxing-cpp
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'zxing-cpp==3.1.1' 'numpy==2.4.6'
python --version
pip freeze

cat >program.py <<'EOF'
import sys

import numpy
import zxingcpp

EXPECTED = {
    ("Code39", "abc"): ["ABC"],
    ("ITF", "123"): ["0123"],
    ("ITF", "1234"): ["1234"],
    ("Code93", "abc"): ["abc"],
    ("Code128", "abc"): ["abc"],
}
seen = {}
for name, text in EXPECTED:
    barcode = zxingcpp.create_barcode(text, getattr(zxingcpp.BarcodeFormat, name))
    image = numpy.pad(numpy.asarray(barcode.to_image(scale=4)), 40, constant_values=255)
    seen[name, text] = [one.text for one in zxingcpp.read_barcodes(image)]
    print(name, repr(text), "is read as", seen[name, text])
if seen != EXPECTED:
    sys.exit("The behaviour has changed.")
EOF
python program.py
