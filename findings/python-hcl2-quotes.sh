#!/usr/bin/env bash
# Expected: hcl2.loads() reads the HCL attribute `name = "web"` as the str "web", like every parser
# of JSON, TOML or YAML, and hcl2.dumps() writes {"name": "web"} as `name = "web"`.
# Seen: the str has its quotes, '"web"', so a comparison with "web" is false. dumps() writes strings
# as they are: {"name": "web"} becomes the reference `name = web`, "us-east-1" a reference too, and
# "1" the number 1. "two words" is written, but can't be read again.
# SerializationOptions(strip_string_quotes=True) reads strings without quotes; dumps() has no such
# option.
# It matters for programs that read Terraform files or write them from data: lookups fail silently,
# and the written file is valid and means something else.
# python-hcl2 8.1.4, lark 1.3.1; https://github.com/hashicorp/hcl/blob/main/hclsyntax/spec.md;
# https://github.com/amplify-education/python-hcl2
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'python-hcl2==8.1.4' 'lark==1.3.1'
python --version
pip freeze

cat >program.py <<'EOF'
import sys

import hcl2
from hcl2 import SerializationOptions

TEXT = 'name = "web"\nregion = "us-east-1"\ncount = 2\n'
stripped = hcl2.loads(TEXT, serialization_options=SerializationOptions(strip_string_quotes=True))
seen = [hcl2.loads(TEXT), stripped]
print(TEXT, *seen, sep="\n")
for value in "web", "us-east-1", "1", "two words":
    text = hcl2.dumps({"a": value}).strip()
    try:
        again = hcl2.loads(text)["a"]
    except Exception as error:
        again = type(error)
    print(f"{value!r} is written as: {text} | and read as {again!r}")
    seen.append((text, again if isinstance(again, (str, int)) else "an exception"))
if seen != [
    {"name": '"web"', "region": '"us-east-1"', "count": 2},
    {"name": "web", "region": "us-east-1", "count": 2},
    ("a = web", "web"),
    ("a = us-east-1", "us-east-1"),
    ("a = 1", 1),
    ("a = two words", "an exception"),
]:
    sys.exit("The behaviour has changed.")
EOF
python program.py
