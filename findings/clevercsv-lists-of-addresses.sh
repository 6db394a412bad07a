#!/usr/bin/env bash
# Expected: clevercsv, which is to find the dialect of files where csv.Sniffer fails, finds no
# separator in a file with one mail address a line, as it does with one number, name or web address
# a line.
# Seen: the separator is "@", so jane@example.com has the columns jane and example.com. Times are
# separated at ":", prices such as €1.50 at "€" with an empty first column, and names of two words
# at the space. Numbers, IP addresses and web addresses are one column.
# It matters for lists of subscribers and other exports with one column: the import works, and the
# first column is no address.
# clevercsv 0.8.5; the package's clevercsv/potential_dialects.py; https://clevercsv.readthedocs.io/
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'clevercsv==0.8.5'
python --version
pip freeze

cat >program.py <<'EOF'
import io
import sys

import clevercsv

EXPECTED = {
    "1.5\n2.5\n": ["1.5"],
    "192.0.2.1\n192.0.2.2\n": ["192.0.2.1"],
    "https://a.example/1\nhttps://b.example/2\n": ["https://a.example/1"],
    "jane@example.com\nrick@example.com\n": ["jane", "example.com"],
    "12:30\n13:45\n": ["12", "30"],
    "\u20ac1.50\n\u20ac2.50\n": ["", "1.50"],
    "apple pie\nplum pie\nkiwi tart\n": ["apple", "pie"],
    "name,mail\nJane,jane@example.com\n": ["name", "mail"],
}
seen = {}
for text in EXPECTED:
    dialect = clevercsv.Sniffer().sniff(text)
    seen[text] = next(clevercsv.reader(io.StringIO(text, newline=""), dialect))
    print(f"{text!r}: separator {dialect.delimiter!r}, first row {seen[text]}")
if seen != EXPECTED:
    sys.exit("The behaviour has changed.")
EOF
python program.py
