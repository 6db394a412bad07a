#!/usr/bin/env bash
# Expected: each new struct of a Thrift file has its own default list, as in the code that Thrift's
# compiler makes.
# Seen: thriftpy2 gives every struct the same list. An item that is appended to one is in each later
# one, and is sent. A set arrives as a list, and None in a field with a default arrives as the
# default.
# It matters for a server: the tags of one customer are part of the next customer's order, until the
# process restarts.
# thriftpy2 0.7.1; https://thrift.apache.org/docs/idl (default values)
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'thriftpy2==0.7.1'
python --version
pip freeze

cat >program.py <<'EOF'
import sys

import thriftpy2
from thriftpy2.utils import deserialize, serialize

with open("pie.thrift", "w") as file:
    file.write("""struct Order {
    1: optional list<string> tags = ["pie"],
    2: optional set<i32> sizes,
    3: optional i32 number = 1
}""")
Order = thriftpy2.load("pie.thrift", module_name="pie_thrift").Order
first = Order()
first.tags.append("gluten")
second = deserialize(Order(), serialize(Order()))
third = deserialize(Order(), serialize(Order(sizes={1, 2}, number=None)))
seen = {"tags of a new order": second.tags, "set": third.sizes, "number None": third.number}
print(*seen.items(), sep="\n")
EXPECTED = {"tags of a new order": ["pie", "gluten"], "set": [1, 2], "number None": 1}
if seen != EXPECTED:
    sys.exit("The behaviour has changed.")
EOF
python program.py
