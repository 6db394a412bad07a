#!/usr/bin/env bash
# Expected: an array of a TOML document is a list: after sort() it is sorted, in the program and in
# the file.
# Seen: with tomlkit, sort() changes only the values that the program sees. dumps() writes the old
# order. If an item is removed then, the file has the other item: the program sees ["apple"] and
# writes ["plum"]. `*=` isn't written, either. An array of tables isn't sorted at all, though
# reverse() works for both. Nothing is raised.
# It matters for tools that add a dependency to a list and sort it: what they check and what they
# write differs.
# tomlkit 0.15.2; https://docs.python.org/3/library/stdtypes.html#list.sort;
# https://tomlkit.readthedocs.io/en/latest/api/#tomlkit.items.Array
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'tomlkit==0.15.2'
python --version
pip freeze

cat >program.py <<'EOF'
import sys

import tomlkit

seen = {}


def show(name, document):
    written = tomlkit.dumps(document)
    seen[name] = [document.unwrap(), tomlkit.parse(written).unwrap()]
    print(f"{name}: the program sees {seen[name][0]}, the file has {seen[name][1]}")


document = tomlkit.parse('pies = ["plum", "apple"]\n')
document["pies"].sort()
show("sorted", document)
document["pies"].remove("plum")
show("sorted, then plum removed", document)
document = tomlkit.parse('pies = ["plum", "apple"]\n')
document["pies"] *= 2
show("doubled", document)
document = tomlkit.parse('pies = ["plum", "apple"]\n')
document["pies"].reverse()
show("reversed", document)
document = tomlkit.parse("[[pies]]\nprice = 2\n[[pies]]\nprice = 1\n")
document["pies"].sort(key=lambda pie: pie["price"])
show("tables sorted", document)

PLUM, APPLE = "plum", "apple"
if {name: [one["pies"] for one in both] for name, both in seen.items()} != {
    "sorted": [[APPLE, PLUM], [PLUM, APPLE]],
    "sorted, then plum removed": [[APPLE], [PLUM]],
    "doubled": [[PLUM, APPLE] * 2, [PLUM, APPLE]],
    "reversed": [[APPLE, PLUM], [APPLE, PLUM]],
    "tables sorted": [[{"price": 2}, {"price": 1}]] * 2,
}:
    sys.exit("The behaviour has changed.")
EOF
python program.py
