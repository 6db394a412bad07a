#!/usr/bin/env bash
# Expected: json5 reads what it has written, and each JSON text, since JSON5 contains JSON.
# Seen: dumps() writes a character above U+FFFF as JSON does, as the two escapes of a surrogate
# pair. loads() doesn't join them: "\ud83e\udd67" is a string of two surrogates, which isn't equal
# to the pie that was written, and which can't be encoded as UTF-8. The json of Python reads the
# pie. An emoji that isn't escaped stays as it is.
# It matters for settings with names or messages: the error comes later, from the file, database or
# response that gets the string, and json.dumps() escapes everything but ASCII by default.
# json5 0.17.3, beside Python's json; https://spec.json5.org/#strings and
# https://www.rfc-editor.org/rfc/rfc8259#section-7
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'json5==0.17.3'
python --version
pip freeze

cat >program.py <<'EOF'
import json
import sys

import json5

seen = {}
for text in ("caf\u00e9", "\u20ac 5", "\U0001f967", "\U0001d11e"):
    written = json5.dumps({"name": text})
    read = {"json5": json5.loads(written)["name"], "json": json.loads(json.dumps(text))}
    read["json5, of json"] = json5.loads(json.dumps(text))
    read["json5, not escaped"] = json5.loads(f'"{text}"')
    for library, value in read.items():
        print(f"{ascii(text)}, {library}: {ascii(value)}, {value == text}")
    seen[text] = [value == text for value in read.values()]
try:
    json5.loads(json5.dumps("\U0001f967")).encode()
    error = None
except UnicodeEncodeError as raised:
    error = str(raised)
print(error)
if [*seen.values()] != [[True] * 4] * 2 + [[False, True, False, True]] * 2 or not error:
    sys.exit("The behaviour has changed.")
EOF
python program.py
