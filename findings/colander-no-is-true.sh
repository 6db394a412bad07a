#!/usr/bin/env bash
# Expected: a schema's Boolean reads "no" and "off" as false, or refuses them.
# Seen: colander.Boolean takes everything but "false" and "0" for true: "no", "off", "n" and "". The
# Boolean types of FormEncode (StringBool) and voluptuous read "no" and "off" as false.
# It matters for settings and query strings: `newsletter=no` subscribes. It isn't an error, and a
# test with true and false passes.
# colander 2.0, beside FormEncode 2.1.1 and voluptuous 0.16.0;
# https://docs.pylonsproject.org/projects/colander/en/latest/api.html#colander.Boolean
# (false_choices)
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check \
    'colander==2.0' 'FormEncode==2.1.1' 'voluptuous==0.16.0'
python --version
pip freeze

cat >program.py <<'EOF'
import sys

import colander
import formencode.validators
import voluptuous

WORDS = ("true", "false", "0", "no", "off", "n", "")
seen = {}
for word in WORDS:
    seen[word] = colander.SchemaNode(colander.Boolean()).deserialize(word)
    print(repr(word), "colander:", seen[word], end=" ")
    print("FormEncode:", formencode.validators.StringBool().to_python(word), end=" ")
    try:
        print("voluptuous:", voluptuous.Schema(voluptuous.Boolean())(word))
    except voluptuous.Invalid:
        print("voluptuous: invalid")
EXPECTED = {
    "true": True,
    "false": False,
    "0": False,
    "no": True,
    "off": True,
    "n": True,
    "": True,
}
if seen != EXPECTED:
    sys.exit("The behaviour has changed.")
EOF
python program.py
