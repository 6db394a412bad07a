#!/usr/bin/env bash
# Expected: bencodepy writes True as i1e or raises an exception, because bencoding has no booleans,
# and sorts the keys of a dict, as the specification of BitTorrent demands.
# Seen: True becomes "iTruee", and bencodepy can't read what it has written. Keys come in the order
# of the dict, so equal dicts are written as two texts.
# It matters for torrents: the hash of the text is their name, which another program that reads and
# writes the same torrent computes from sorted keys. A torrent with "private": True can't be opened.
# bencodepy 0.9.5; encode in the package's bencodepy/encode.py;
# https://www.bittorrent.org/beps/bep_0003.html
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'bencodepy==0.9.5'
python --version
pip freeze

cat >program.py <<'EOF'
import sys

import bencodepy

written = bencodepy.encode({"private": True})
try:
    read = str(bencodepy.decode(written))
except ValueError as error:
    read = f"ValueError, {error}"
print(written, "is read as", read)
orders = [bencodepy.encode(d) for d in ({"length": 3, "name": "a"}, {"name": "a", "length": 3})]
print(orders, bencodepy.encode([False]))
if (written, read, orders) != (
    b"d7:privateiTrueee",
    "ValueError, invalid literal for int() with base 10: b'Tru'",
    [b"d6:lengthi3e4:name1:ae", b"d4:name1:a6:lengthi3ee"],
):
    sys.exit("The behaviour has changed.")
EOF
python program.py
