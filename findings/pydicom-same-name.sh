#!/usr/bin/env bash
# Expected: in DICOM, empty components at the end of a person's name may be left out with their
# carets: "Doe^Jane" and "Doe^Jane^^^" are one name (PS3.5, 6.2.1). A space behind a name only makes
# its length even (6.2).
# Seen: for pydicom both names differ, in == and as keys of a dict or set. A name with a padding
# space differs, too. Empty groups, "Doe^Jane==", are equal, so the class does normalise.
# It matters for studies from several devices: a list of patients has one person several times.
# pydicom 3.0.2; https://dicom.nema.org/medical/dicom/current/output/chtml/part05/sect_6.2.html
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'pydicom==3.0.2'
python --version
pip freeze

cat >program.py <<'EOF'
import sys

from pydicom.valuerep import PersonName

NAMES = {"Doe^Jane^^^": False, "Doe^Jane ": False, "Doe^Jane==": True, "Doe^Jane": True}
seen = {}
name = PersonName("Doe^Jane")
for text in NAMES:
    other = PersonName(text)
    seen[text] = name == other
    print(f"{text!r}: family name {other.family_name!r}, given name {other.given_name!r},", end=" ")
    print("equal" if seen[text] else "differs", "| in a set:", len({name, other}))
if seen != NAMES:
    sys.exit("The behaviour has changed.")
EOF
python program.py
