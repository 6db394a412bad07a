#!/usr/bin/env bash
# Expected: two libraries agree on the checksum that they call CRC-16, and on that of the CCITT.
# Seen: for "123456789", crcmod's crc-16 is bb3d (ARC), crccheck's Crc16 is 31c3 (XMODEM). "ccitt"
# is 2189 (KERMIT) in crccheck and libscrc, 29b1 in crcmod's crc-ccitt-false, and f4 in crc, which
# calls its CRC-8 of that body Crc8.CCITT. The names that they share, XMODEM, MODBUS and X-25,
# agree.
# It matters because a data sheet says "CRC-16" or "CRC-CCITT", and the first check by a colleague
# with another library fails. Hours go into byte orders that are right.
# crccheck 1.3.1, crcmod 1.7, crc 8.0.0, libscrc 1.8.1;
# https://reveng.sourceforge.io/crc-catalogue/16.htm
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check \
    'crccheck==1.3.1' 'crcmod==1.7' 'crc==8.0.0' 'libscrc==1.8.1'
python --version
pip freeze

cat >program.py <<'EOF'
import sys

import crccheck.crc
import crcmod.predefined
import libscrc
from crc import Calculator, Crc8, Crc16

DATA = b"123456789"
seen = {
    "CRC-16, crcmod": crcmod.predefined.mkCrcFun("crc-16")(DATA),
    "CRC-16, crccheck": crccheck.crc.Crc16.calc(DATA),
    "CCITT, crccheck": crccheck.crc.Crc16Ccitt.calc(DATA),
    "CCITT, libscrc": libscrc.ccitt(DATA),
    "CCITT (false), crcmod": crcmod.predefined.mkCrcFun("crc-ccitt-false")(DATA),
    "CCITT, crc": Calculator(Crc8.CCITT).checksum(DATA),
    "XMODEM, crcmod": crcmod.predefined.mkCrcFun("xmodem")(DATA),
    "XMODEM, crccheck": crccheck.crc.CrcXmodem.calc(DATA),
    "XMODEM, crc": Calculator(Crc16.XMODEM).checksum(DATA),
}
EXPECTED = dict(
    zip(seen, (0xBB3D, 0x31C3, 0x2189, 0x2189, 0x29B1, 0xF4, *[0x31C3] * 3), strict=True)
)
for name, value in seen.items():
    print(f"{name}: {value:x}")
if seen != EXPECTED:
    sys.exit("The behaviour has changed.")
EOF
python program.py
