#!/usr/bin/env bash
# Expected: linkify() makes links of web addresses and of names of hosts such as example.com or
# www.example.com.
# Seen: each word that ends with a point and one of its two hundred and more top-level domains
# becomes a link: README.md, setup.py, main.rs and deploy.sh lead to http://README.md and so on,
# hosts in Moldova, Paraguay, Serbia and Saint Helena. Node.js and app.css stay as they are, and so
# does each name under .dev or .app, because the list has no new domains.
# It matters for comments and issues of a programmers' site: a reader who clicks on the name of a
# file visits a site that somebody else owns.
# bleach 6.4.0; TLDS in the package's bleach/linkifier.py;
# https://bleach.readthedocs.io/en/latest/linkify.html
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'bleach==6.4.0'
python --version
pip freeze

cat >program.py <<'EOF'
import sys

import bleach

EXPECTED = {
    "example.com": True,
    "README.md": True,
    "setup.py": True,
    "main.rs": True,
    "deploy.sh": True,
    "Node.js": False,
    "app.css": False,
    "pies.dev": False,
}
seen = {}
for name in EXPECTED:
    written = bleach.linkify(f"see {name} for more")
    seen[name] = f'href="http://{name}"' in written
    print(written)
if seen != EXPECTED:
    sys.exit("The behaviour has changed.")
EOF
python program.py
