#!/usr/bin/env bash
# Expected: cbor2.loads() raises an exception if bytes are left after the first item, as json.loads
# and msgpack.unpackb do, because its caller assumes that the bytes are one item (RFC 8949, appendix
# F: too much data).
# Seen: it returns the first item. The rest is lost silently.
# It matters because devices send several records one after the other, as a CBOR sequence (RFC
# 8742): a receiver that calls loads() stores the first record of each batch and reports success. A
# loop with cbor2.CBORDecoder(stream).decode() gets all.
# cbor2 6.3.0, beside msgpack 1.2.4; https://github.com/agronholm/cbor2/issues/282
set -eu

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'cbor2==6.3.0' 'msgpack==1.2.4'
python --version
pip freeze

cat >program.py <<'EOF'
import json
import sys

import cbor2
import msgpack

records = [{"t": 1, "celsius": 20.5}, {"t": 2, "celsius": 99.5}]
seen = []
for name, dumps, loads in (
    ("json.loads", lambda item: json.dumps(item).encode(), json.loads),
    ("msgpack.unpackb", msgpack.packb, msgpack.unpackb),
    ("cbor2.loads", cbor2.dumps, cbor2.loads),
):
    data = b"".join(map(dumps, records))
    try:
        result = loads(data)
    except Exception as error:
        result = type(error).__name__
    print(f"{name} of two records: {result}")
    seen.append(result)
if seen != ["JSONDecodeError", "ExtraData", records[0]]:
    sys.exit("The behaviour has changed.")
EOF
python program.py
