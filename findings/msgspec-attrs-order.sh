#!/usr/bin/env bash
# Expected: msgspec encodes the fields of an attrs class in the order of the class, as it does those
# of its own Structs and of dataclasses, slotted ones too.
# Seen: with `attrs.define`, whose classes have slots, the fields come in the order of the alphabet.
# msgspec reads an attrs object's `__slots__`, and CPython stores slots sorted. The option
# `order="deterministic"` doesn't change that. With `slots=False` the order is that of the class.
# It matters when the order is read, by people, by snapshot tests or in CSV made from the JSON, and
# when msgspec takes the place of `json.dumps(attrs.asdict(...))`.
# msgspec 0.22.0, attrs 26.1.0; https://github.com/msgspec/msgspec/pull/323
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'msgspec==0.22.0' 'attrs==26.1.0'
python --version
pip freeze

cat >program.py <<'EOF'
import dataclasses
import json
import sys

import attrs
import msgspec


class Box:
    width: int
    height: int
    area: int


makers = {
    "attrs.define": attrs.define,
    "attrs.define(slots=False)": attrs.define(slots=False),
    "dataclass(slots=True)": dataclasses.dataclass(slots=True),
}
seen = {}
for name, make in makers.items():
    made = make(type("Box", (), {"__annotations__": Box.__annotations__}))(2, 3, 6)
    for order in None, "deterministic":
        text = msgspec.json.encode(made, order=order)
        seen[name, order] = [*json.loads(text)]
        print(f"{name}, order={order}: {text.decode()}")
in_order, by_alphabet = ["width", "height", "area"], ["area", "height", "width"]
expected = {
    (name, order): by_alphabet if name == "attrs.define" else in_order for name, order in seen
}
if seen != expected:
    sys.exit("The behaviour has changed.")
EOF
python program.py
