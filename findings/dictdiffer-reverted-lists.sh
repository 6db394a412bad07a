#!/usr/bin/env bash
# Expected: revert(diff(old, new), new) is old, as its documentation promises.
# Seen: if a list has lost two or more items, they come back in another order: [1, 3, 2] for [1, 2,
# 3] that became []. Removals are recorded from the last to the first; revert() inserts them in this
# order, and an insertion beyond the end of a list appends. The items that stand where they did hide
# it: [1, 2, 3] that became [1] is right, [1, 2, 3, 4] that became [1] is not. patch() is right.
# It matters for undo and for the history of a document, and nothing reports it: the list has the
# right length and items.
# dictdiffer 0.10.0; swap and revert in the package's dictdiffer/__init__.py
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'dictdiffer==0.10.0'
python --version
pip freeze

cat >program.py <<'EOF'
import sys

from dictdiffer import diff, patch, revert

EXPECTED = {
    "[1, 2, 3] -> [3]": [1, 2, 3],
    "[1, 2, 3] -> []": [1, 3, 2],
    "[1, 2, 3, 4] -> [4]": [1, 2, 4, 3],
}
seen = {}
for name in EXPECTED:
    old, new = map(eval, name.split(" -> "))
    changes = list(diff(old, new))
    seen[name] = revert(changes, new)
    print(f"{name}: patched {patch(changes, old)}, reverted {seen[name]}, changes {changes}")
    if patch(changes, old) != new:
        sys.exit("The behaviour has changed.")
if seen != EXPECTED:
    sys.exit("The behaviour has changed.")
EOF
python program.py
