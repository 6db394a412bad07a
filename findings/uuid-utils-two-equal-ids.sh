#!/usr/bin/env bash
# Expected: a UUID that a faster library makes equals the same UUID of the standard library, so one
# of a database is found among those that the program made.
# Seen: uuid_utils.UUID and uuid.UUID with one value have the same hash and text, and aren't equal.
# A dict with one doesn't have the other, and a list with both can't be sorted. isinstance(value,
# uuid.UUID) is false, so singledispatch and encoders don't see it. Its module compat returns the
# types of the standard library.
# It matters where only a part of a program changes its import: look-ups are empty without an
# exception.
# uuid_utils 1.2.0; https://github.com/aminalaee/uuid-utils
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'uuid_utils==1.2.0'
python --version
pip freeze

cat >program.py <<'EOF'
import json
import sys
import uuid

import uuid_utils
import uuid_utils.compat

fast = uuid_utils.uuid7()
same = uuid.UUID(str(fast))
seen = {
    "the texts are equal": str(fast) == str(same),
    "the hashes are equal": hash(fast) == hash(same),
    "they are equal": fast == same,
    "a dict with one has the other": same in {fast: "pie"},
    "one is an instance of uuid.UUID": isinstance(fast, uuid.UUID),
    "compat makes instances of uuid.UUID": isinstance(uuid_utils.compat.uuid7(), uuid.UUID),
}
print(json.dumps(seen, indent=1))
if list(seen.values()) != [True, True, False, False, False, True]:
    sys.exit("The behaviour has changed.")
EOF
python program.py
