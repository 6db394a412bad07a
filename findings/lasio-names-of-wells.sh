#!/usr/bin/env bash
# Expected: a well log that is read and written has the same name of the well, the same location and
# licence. They are names, which may look like a number.
# Seen: lasio makes numbers of them. The well 007 becomes 7, the location 16E4 becomes 160000.0, the
# field 1_000 is 1000, and the licence 00123 is 123. The identifiers API and UWI stay texts, as does
# a name such as 12-E4.
# It matters for archives: a log is filed under another well, or isn't found. Most names have
# letters and hyphens, so a test passes.
# lasio 0.32; https://www.cwls.org/products/;
# https://lasio.readthedocs.io/en/latest/header-section.html
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'lasio==0.32' 'numpy==2.4.6'
python --version
pip freeze

cat >program.py <<'EOF'
import io
import sys

import lasio

TEXT = """~Version
VERS. 2.0 :
WRAP. NO :
~Well
STRT.M 1.0 :
STOP.M 2.0 :
STEP.M 1.0 :
NULL. -999.25 :
WELL. 007 : WELL
FLD. 1_000 : FIELD
LOC. 16E4 : LOCATION
LIC. 00123 : LICENCE
COMP. 12-E4 : COMPANY
UWI. 0012345678 : UNIQUE WELL ID
~Curve
DEPT.M :
GR.GAPI :
~Ascii
1.0 5.0
2.0 6.0
"""
log = lasio.read(TEXT)
written = io.StringIO()
log.write(written, version=2.0)
seen = {}
for line in written.getvalue().splitlines():
    name = line.split(".")[0].strip()
    if name in ("WELL", "FLD", "LOC", "LIC", "COMP", "UWI"):
        seen[name] = line.split(".", 1)[1].split(":")[0].strip()
for name, value in seen.items():
    print(name, "is written as", value)
if seen != {
    "WELL": "7",
    "FLD": "1000",
    "LOC": "160000.0",
    "LIC": "123",
    "COMP": "12-E4",
    "UWI": "0012345678",
}:
    sys.exit("The behaviour has changed.")
EOF
python program.py
