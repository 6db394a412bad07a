#!/usr/bin/env bash
# Expected: a HEX file that bincopy reads and writes starts at the same address.
# Seen: of a record of type 3, which holds a segment and an offset of 16 bits each, bincopy takes
# all 32 bits for an address, and writes it as a record of type 5: 1234:5678, the address 0x179B8,
# becomes 0x12345678, where the file has no data. As an S-record it is 0x12345678, too. intelhex
# writes the record that it has read.
# It matters for firmware of the 8086, 80186 and their successors: a file that was only merged with
# another starts nowhere. Data at segment addresses are right.
# bincopy 20.1.1, beside intelhex 2.3.0; add_ihex in the package's bincopy.py;
# https://en.wikipedia.org/wiki/Intel_HEX#Record_types
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'bincopy==20.1.1' 'intelhex==2.3.0'
python --version
pip freeze

cat >program.py <<'EOF'
import io
import sys

import bincopy
import intelhex


def record(kind, data, address=0):
    octets = [len(data), address >> 8, address & 255, kind, *data]
    return ":" + bytes([*octets, -sum(octets) & 255]).hex().upper()


text = "\n".join(
    [
        record(2, [0x12, 0x34]),
        record(0, [0x90, 0x90], 0x5678),
        record(3, [0x12, 0x34, 0x56, 0x78]),
        record(1, []),
    ]
)
file = bincopy.BinFile()
file.add_ihex(text)
other = intelhex.IntelHex(io.StringIO(text))
written = io.StringIO()
other.write_hex_file(written)
print("data at", hex(file.minimum_address), "| start", hex(file.execution_start_address))
print(file.as_ihex(), file.as_srec(), written.getvalue(), other.start_addr, sep="\n")
if (file.minimum_address, file.execution_start_address) != (0x179B8, 0x12345678):
    sys.exit("The behaviour has changed.")
if record(5, [0x12, 0x34, 0x56, 0x78]) not in file.as_ihex():
    sys.exit("The record has changed.")
if other.start_addr != {"CS": 0x1234, "IP": 0x5678} or other.minaddr() != 0x179B8:
    sys.exit("intelhex has changed.")
EOF
python program.py
