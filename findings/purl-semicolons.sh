#!/usr/bin/env bash
# Expected: a URL that is parsed and written again is the same URL. A semicolon in a path is an
# ordinary character (RFC 3986, 3.3), and the colons of an IPv6 address are part of the host
# (3.2.2).
# Seen: purl drops everything from the last segment's semicolon to the end of the path, so the
# matrix parameters and session ids of many servers are lost. The host of http://[::1]:8080/ is
# written as "[", and mailto: loses its scheme.
# It matters for links that a program only wants to change in their query: they lead to another
# page.
# purl 1.6; https://www.rfc-editor.org/rfc/rfc3986#section-3.3;
# https://github.com/codeinthehole/purl/blob/master/purl/url.py
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'purl==1.6'
python --version
pip freeze

cat >program.py <<'EOF'
import sys

import purl

EXPECTED = {
    "http://example.com/map;scale=5?x=1": "http://example.com/map?x=1",
    "http://example.com/a;b/c;d": "http://example.com/a;b/c",
    "http://example.com/pies;jsessionid=7": "http://example.com/pies",
    "http://[::1]:8080/": "http://[:8080/",
    "mailto:ada@example.com": "ada@example.com",
    "http://example.com/a%2Fb?x=1&y=": "http://example.com/a%2Fb?x=1&y=",
}
seen = {url: str(purl.URL(url)) for url in EXPECTED}
for url, written in seen.items():
    print(url, "is written as", written)
print("with another page:", purl.URL("http://example.com/map;scale=5?x=1").query_param("page", 2))
if seen != EXPECTED:
    sys.exit("The behaviour has changed.")
EOF
python program.py
