#!/usr/bin/env bash
# Expected: dpath.new({}, "sales/2026", 5) makes a dict in a dict, {"sales": {"2026": 5}}, as
# "sales/total" does.
# Seen: "sales" becomes a list with 2,026 times None and the 5 at its end. A segment of digits makes
# its missing parent a list; "room/03" as well, so "03" and "3" are one place. Whether the dict
# existed before decides: with {"sales": {}} the result is a dict with the key "2026".
# It matters for data by year, number of an article or of a customer: the first value of a day makes
# a list with holes, and its JSON is a hundred times as long.
# dpath 2.2.0; the package's dpath/segments.py, lines 317 and following
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'dpath==2.2.0'
python --version
pip freeze

cat >program.py <<'EOF'
import sys

import dpath

EXPECTED = {
    "sales/total": "dict of 1",
    "sales/2026": "list of 2027",
    "room/3": "list of 4",
    "room/03": "list of 4",
}
seen = {}
for path in EXPECTED:
    data = {}
    dpath.new(data, path, 5)
    (value,) = data.values()
    seen[path] = f"{type(value).__name__} of {len(value)}"
    print(f"{path}: a {seen[path]}")
existing = {"sales": {}}
dpath.new(existing, "sales/2026", 5)
print("beside an empty dict:", existing)
if seen != EXPECTED or existing != {"sales": {"2026": 5}}:
    sys.exit("The behaviour has changed.")
EOF
python program.py
