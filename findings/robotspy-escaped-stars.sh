#!/usr/bin/env bash
# Expected: in robots.txt, %2A is a star that is part of a path, and * stands for any characters, so
# Disallow: /price%2A forbids /price* only (RFC 9309, section 2.2.3). /a%2Fb is another path than
# /a/b.
# Seen: robotspy decodes a rule before it looks for stars. /price%2A forbids /prices and all that
# begins with /price, and Disallow: /a%2Fb forbids /a/b. Protego reads both as the RFC says. An
# escaped $ at the end is right.
# It matters for crawlers: pages that a site offers are missing, and with Allow, pages are fetched
# that it doesn't offer.
# robotspy 0.13.0, beside Protego 0.7.0; https://www.rfc-editor.org/rfc/rfc9309#section-2.2.3
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'robotspy==0.13.0' 'Protego==0.7.0'
python --version
pip freeze

cat >program.py <<'EOF'
import sys

import protego
import robots

EXPECTED = {
    ("/price%2A", "/price%2A"): (False, False),
    ("/price%2A", "/prices"): (False, True),
    ("/a%2Fb", "/a%2Fb"): (False, False),
    ("/a%2Fb", "/a/b"): (False, True),
    ("/cent%24", "/cents"): (True, True),
}
seen = {}
for rule, path in EXPECTED:
    text = f"User-agent: *\nDisallow: {rule}\n"
    url = "https://example.com" + path
    by_robotspy = robots.RobotsParser.from_string(text).can_fetch("pie", url)
    by_protego = protego.Protego.parse(text).can_fetch(url, "pie")
    seen[rule, path] = by_robotspy, by_protego
    print(f"Disallow: {rule}, {path}: robotspy {by_robotspy}, Protego {by_protego}")
if seen != EXPECTED:
    sys.exit("The behaviour has changed.")
EOF
python program.py
