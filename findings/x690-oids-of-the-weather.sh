#!/usr/bin/env bash
# Expected: an object identifier that is encoded in BER is the same one when it is decoded, also
# below 2.48, such as 2.49, the arc of the World Meteorological Organization, or 2.999, the arc for
# examples (X.690, section 8.19).
# Seen: x690, on which the SNMP library puresnmp is built, always writes the first two numbers as
# one byte, and splits it after each 40. 2.49.0.0.276.0 has an invalid encoding, which x690 itself
# decodes as 3.9.0.0.276.0. The right encoding of 2.40.5 is read as 3.0.5, and 2.999.1 is a
# ValueError. Below 2.40, so for most devices, all is right.
# It matters for identifiers of warnings and alerts: another program refuses them, or reads the
# wrong number. No exception is raised.
# x690 1.0.0.post1, beside asn1crypto 1.5.1; https://www.itu.int/rec/T-REC-X.690;
# https://alertingauthority.wmo.int/
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'x690==1.0.0.post1' 'asn1crypto==1.5.1'
python --version
pip freeze

cat >program.py <<'EOF'
import sys

import asn1crypto.core
import x690.types

EXPECTED = {
    "1.3.6.1.2.1.1.3": ("1.3.6.1.2.1.1.3", True),
    "2.16.840.1": ("2.16.840.1", True),
    "2.40.5": ("3.0.5", True),
    "2.49.0.0.276.0": ("3.9.0.0.276.0", False),
    "2.999.1": ("ValueError", False),
}
seen = {}
for text in EXPECTED:
    right = asn1crypto.core.ObjectIdentifier(text).dump()
    try:
        data = bytes(x690.types.ObjectIdentifier(text))
        read = str(x690.types.decode(right)[0].value) if data == right else None
        read = read or str(x690.types.decode(data)[0].value)
    except ValueError as error:
        data, read = b"", type(error).__name__
    print(f"{text}: {right.hex()}, x690 {data.hex()}, read as {read}")
    seen[text] = read, data == right
if seen != EXPECTED:
    sys.exit("The behaviour has changed.")
EOF
python program.py
