#!/usr/bin/env bash
# Expected: ndjson.loads(text) parses each line as JSON, so a string keeps its characters. JSON
# allows a raw U+2028 (line separator) or U+0085 in a string, and only a line feed ends a record of
# NDJSON.
# Seen: the library splits the text wherever str.splitlines() does, and joins the pieces with commas
# into one JSON array. The separator inside of a string becomes a comma, and nothing is raised.
# ndjson.reader, of the same package, reads the same text correctly from a file.
# It matters because U+2028 is common in text that people paste from word processors and chat
# programs. JavaScript and json.dumps(ensure_ascii=False) write it as it is, so the text of a record
# changes on its way.
# ndjson 0.3.1, beside Python's json; RFC 8259, section 7 (which characters need an escape);
# https://github.com/ndjson/ndjson-spec (section 3.1: "\n");
# https://github.com/rhgrant10/ndjson/blob/master/ndjson/codecs.py
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'ndjson==0.3.1'
python --version
pip freeze

cat >program.py <<'EOF'
import io
import json
import sys

import ndjson

records = [{"note": "first\u2028second"}, {"note": "third\u0085fourth"}]
text = "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)
seen = [
    [json.loads(line) for line in text.split("\n") if line],
    list(ndjson.reader(io.StringIO(text))),
    ndjson.loads(text),
    ndjson.loads(ndjson.dumps(records, ensure_ascii=False)),
]
names = "json", "ndjson.reader", "ndjson.loads", "of ndjson.dumps"
for name, result in zip(names, seen, strict=True):
    print(f"{name}: {result}")
changed = [{"note": "first,second"}, {"note": "third,fourth"}]
if seen != [records, records, changed, changed]:
    sys.exit("The behaviour has changed.")
EOF
python program.py
