#!/usr/bin/env bash
# Expected: {{else if}} works in pybars3 as in Handlebars since version 3.0, or is a syntax error.
# Seen: the template compiles. If the first condition is true, rendering raises an exception, that
# there is no property "else". If it is false, the last {{else}} is rendered, also if the second
# condition is true. A backslash, \{{name}}, which in Handlebars shows the braces, is printed, and
# the name replaced.
# It matters for mails from templates that were written and tested with Handlebars: some recipients
# get the text for others.
# pybars3 0.9.7; https://handlebarsjs.com/guide/builtin-helpers.html#if
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'pybars3==0.9.7'
python --version
pip freeze

cat >program.py <<'EOF'
import sys

from pybars import Compiler, PybarsError

CHAIN = "{{#if a}}A{{else if b}}B{{else}}C{{/if}}"
NESTED = "{{#if a}}A{{else}}{{#if b}}B{{else}}C{{/if}}{{/if}}"
seen = {}
for values in {"a": True}, {"b": True}, {}:
    rendered = []
    for text in CHAIN, NESTED:
        template = Compiler().compile(text)
        try:
            rendered.append(str(template(values)))
        except PybarsError as error:
            rendered.append(str(error))
    seen[" ".join(values)] = rendered
    print(values, "chain:", repr(rendered[0]), "nested:", repr(rendered[1]))
seen["backslash"] = str(Compiler().compile(r"\{{name}}")({"name": "pie"}))
print(seen["backslash"])
EXPECTED = {
    "a": ["Could not find property else", "A"],
    "b": ["C", "B"],
    "": ["C", "C"],
    "backslash": r"\pie",
}
if seen != EXPECTED:
    sys.exit("The behaviour has changed.")
EOF
python program.py
