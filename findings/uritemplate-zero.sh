#!/usr/bin/env bash
# Expected: the template {?page,active} with page=0 and active=False gives "?page=0&active=False",
# or "false". RFC 6570 omits only undefined values.
# Seen: uritemplate gives "?page=&active=". A number 0, False and 0.0 become empty in the form-style
# query ({?x} and {&x}) and in path parameters ({;x}), but not in {x}, {/x} or in a list.
# It matters for clients of HAL and of GitHub's and Google's descriptions, which expand such
# templates: the first page or an offset of 0 is requested as an empty value. The server responds
# with 400, or with its default. uritemplate 4.2.0, beside uri-template 1.3.0;
# https://www.rfc-editor.org/rfc/rfc6570#section-2.3;
# https://github.com/python-hyper/uritemplate/blob/main/uritemplate/variable.py
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'uritemplate==4.2.0' 'uri-template==1.3.0'
python --version
pip freeze

cat >program.py <<'EOF'
import sys

import uri_template
import uritemplate

values = {"page": 0, "price": 0.0, "active": False, "list": [0, 1]}
seen = []
for template in ("{?page,price,active}", "{&page}", "{;page}", "{page}", "{/page}", "{?list*}"):
    pair = uritemplate.expand(template, values), uri_template.expand(template, **values)
    print(template, "| uritemplate:", pair[0], "| uri-template:", pair[1])
    seen.append(pair)
if seen != [
    ("?page=&price=&active=", "?page=0&price=0.0&active=false"),
    ("&page=", "&page=0"),
    (";page", ";page=0"),
    ("0", "0"),
    ("/0", "/0"),
    ("?list=0&list=1", "?list=0&list=1"),
]:
    sys.exit("The behaviour has changed.")
EOF
python program.py
