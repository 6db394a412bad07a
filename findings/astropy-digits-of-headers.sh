#!/usr/bin/env bash
# Expected: a number in the header of a FITS file has the same digits when it is read, or a warning
# follows when they don't fit.
# Seen: astropy writes at most 20 characters, so an exponent and a sign cost digits:
# 1.2345678901234567e-10 becomes 1.23456789012345e-10, and -1.2345678901234567e-100
# -1.234567890123e-100. Numbers without an exponent keep all. No warning follows, and 80 columns
# have room for more.
# It matters for scales and natural constants, which are small: a check for equality fails for some
# numbers only, and copies of a table differ from the original.
# astropy 8.0.2; _format_float in the package's astropy/io/fits/card.py
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'astropy==8.0.2'
python --version
pip freeze

cat >program.py <<'EOF'
import io
import sys
import warnings

from astropy.io import fits

warnings.simplefilter("error")
EXPECTED = {
    1.2345678901234567e-10: 1.23456789012345e-10,
    -1.2345678901234567e-10: -1.2345678901234e-10,
    -1.2345678901234567e-100: -1.234567890123e-100,
    0.30000000000000004: 0.30000000000000004,
}
seen = {}
for value in EXPECTED:
    header = fits.Header()
    header["SCALE"] = value
    file = io.BytesIO()
    fits.PrimaryHDU(header=header).writeto(file)
    file.seek(0)
    with fits.open(file) as parts:
        seen[value] = parts[0].header["SCALE"]
    print(value, "->", seen[value])
if seen != EXPECTED:
    sys.exit("The behaviour has changed.")
EOF
python program.py
