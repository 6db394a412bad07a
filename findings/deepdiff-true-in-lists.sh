#!/usr/bin/env bash
# Expected: deepdiff reports that 1 has become True, wherever the value is, because it reports a
# change of the type unless ignore_numeric_type_changes or ignore_type_in_groups is set.
# Seen: it does for a value alone and in a dict, but not in a list or tuple: [1, 0] and [True,
# False] are the same, and so are [1, 2] and [1.0, 2.0]. Dicts in lists are compared as expected.
# It matters for tests of APIs and for audits of configurations: a field that is a list of flags may
# become a list of numbers, which other languages treat differently, and the comparison passes.
# deepdiff 9.1.0; https://zepworks.com/deepdiff/current/ignore_types_or_values.html
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'deepdiff==9.1.0'
python --version
pip freeze

cat >program.py <<'EOF'
import sys

from deepdiff import DeepDiff

PAIRS = [
    (1, True),
    ({"flag": 1}, {"flag": True}),
    ([{"flag": 1}], [{"flag": True}]),
    ([1, 0], [True, False]),
    ((1, 0), (True, False)),
    ({"flags": [1, 0]}, {"flags": [True, False]}),
    ([1, 2], [1.0, 2.0]),
    ([1], [2]),
]
seen = []
for before, after in PAIRS:
    difference = DeepDiff(before, after)
    print(before, "->", after, "|", difference or "no difference")
    seen.append([*difference])
if seen != [["type_changes"]] * 3 + [[]] * 4 + [["values_changed"]]:
    sys.exit("The behaviour has changed.")
EOF
python program.py
