#!/usr/bin/env bash
# Expected: a RIS record that is read and written has the same lines, or at least a warning for
# those that rispy doesn't keep.
# Seen: for tags that aren't in its list of repeated ones, rispy keeps the first value. A second SN
# (the electronic ISSN), L1 (file) or TI is dropped. Two N1 or UR stay.
# It matters because a journal has two ISSNs and exports of databases repeat SN and L1: after a
# clean-up of a library, a record is no longer found by one of them, and links to files are gone.
# rispy 0.10.0; LIST_TYPE_TAGS and the parser in the package's rispy/
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'rispy==0.10.0'
python --version
pip freeze

cat >program.py <<'EOF'
import logging
import sys
import warnings

import rispy

RECORD = """TY  - JOUR
TI  - Pies
SN  - 1234-5679
SN  - 9876-5432
UR  - https://example.com/pies
UR  - https://example.org/pies
N1  - first note
N1  - second note
L1  - pies.pdf
L1  - pies-data.pdf
ER  - 
"""
logging.basicConfig(level=logging.DEBUG, filename="log")
logging.captureWarnings(True)
warnings.simplefilter("always")
written = rispy.dumps(rispy.loads(RECORD)).splitlines()
seen = [line for line in RECORD.splitlines() if line not in written]
with open("log") as file:
    log = file.read()
print("lost:", *seen, "log:", repr(log), sep="\n")
EXPECTED = ["SN  - 9876-5432", "L1  - pies-data.pdf"]
if seen != EXPECTED or log:
    sys.exit("The behaviour has changed.")
EOF
python program.py
