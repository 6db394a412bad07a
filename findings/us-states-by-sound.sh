#!/usr/bin/env bash
# Expected: us.states.lookup("Mountain") is None: it isn't the name of a state, nor a slip of the
# pen.
# Seen: if no name, abbreviation or code matches, the library compares how words sound, with the
# letters that Metaphone keeps. Mountain is Montana, Mine is Maine, Taxes is Texas, Illness is
# Illinois, and Minute is nothing.
# It matters for clean-ups of addresses: a word of the wrong column becomes a state, and the result
# looks as certain as that of a real name. use_cache=False doesn't change it, a given field does.
# us 4.0.0; lookup in the package's us/states.py
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'us==4.0.0'
python --version
pip freeze

cat >program.py <<'EOF'
import sys

import us

EXPECTED = {
    "Texas": "Texas",
    "Misouri": "Missouri",
    "Mountain": "Montana",
    "Mine": "Maine",
    "Taxes": "Texas",
    "Illness": "Illinois",
    "Minute": "None",
}
seen = {word: str(us.states.lookup(word)) for word in EXPECTED}
print(*seen.items(), sep="\n")
print("by name:", us.states.lookup("Mountain", field="name"))
if seen != EXPECTED:
    sys.exit("The behaviour has changed.")
EOF
python program.py
