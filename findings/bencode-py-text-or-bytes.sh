#!/usr/bin/env bash
# Expected: bencode.decode() returns each string as bytes, or each as text, or by its key.
# Seen: what is UTF-8 by chance is a str and all else bytes, in one list and for one key. Of 10,000
# peers with an address of six bytes, as trackers send them, one in 20 is a text: its length is that
# of characters, and indexing it gives letters in place of numbers. bencodepy.decode() of the same
# distribution returns bytes always.
# It matters for clients of trackers and DHT: what works with the first peers raises a TypeError
# with a later one, or cuts a text with fewer than six characters in the wrong place.
# bencode.py 4.1.0; the package's bencode/__init__.py; https://www.bittorrent.org/beps/bep_0023.html
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'bencode.py==4.1.0'
python --version
pip freeze

cat >program.py <<'EOF'
import collections
import random
import sys

import bencode
import bencodepy

numbers = random.Random(1)
peers = [bytes([10, *numbers.choices(range(256), k=3), 0x1A, 0xE1]) for _ in range(10_000)]
peers = [peer[:4] + numbers.randrange(1024, 65536).to_bytes(2, "big") for peer in peers]
seen = {}
for module in (bencode, bencodepy):
    read = [module.decode(bencodepy.encode({"peer": one})) for one in peers]
    values = [value for one in read for value in one.values()]
    seen[module.__name__] = collections.Counter(type(value).__name__ for value in values)
    print(module.__name__, seen[module.__name__])
    texts = [value for value in values if isinstance(value, str)]
    print("    shorter than six:", sum(len(text) < 6 for text in texts))
example = bencode.decode(b"l5:caf\xc3\xa94:caf\xe9e")
print(example)
if example != ["caf\u00e9", b"caf\xe9"] or min(seen["bencode"].values()) < 100:
    sys.exit("The behaviour has changed.")
if [*seen["bencode"]] == ["bytes"] or [*seen["bencodepy"]] != ["bytes"]:
    sys.exit("The behaviour has changed.")
EOF
python program.py
