#!/usr/bin/env bash
# Expected: a URL that is parsed and written keeps the spaces in its query. In a mailto: or sms:
# link they are %20, because a plus is a plus there (RFC 6068, 2 and 5); only HTML forms write a
# space as a plus.
# Seen: furl writes a plus for each %20 of the query, whatever the scheme. Programs for mail show
# the subject "Two+pies".
# It matters for pages that add a parameter to existing links: the link works, and the text in it is
# wrong.
# furl 2.1.4; https://www.rfc-editor.org/rfc/rfc6068#section-5; https://github.com/gruns/furl
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'furl==2.1.4' 'orderedmultidict==1.0.2'
python --version
pip freeze

cat >program.py <<'EOF'
import sys
import urllib.parse

import furl

EXPECTED = {
    "mailto:ada@example.com?subject=Two%20pies": "mailto:ada@example.com?subject=Two+pies",
    "sms:+15550100?body=Two%20pies": "sms:+15550100?body=Two+pies",
    "http://example.com/two%20pies": "http://example.com/two%20pies",
}
seen = {url: furl.furl(url).url for url in EXPECTED}
for url, written in seen.items():
    query = urllib.parse.urlsplit(written).query
    print(url, "is written as", written, "and read as", urllib.parse.unquote(query))
if seen != EXPECTED:
    sys.exit("The behaviour has changed.")
EOF
python program.py
