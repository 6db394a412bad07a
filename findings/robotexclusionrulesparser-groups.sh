#!/usr/bin/env bash
# Expected: of a robots.txt, all groups for one crawler count together (RFC 9309, 2.2.1), an empty
# line doesn't end a group (2.2), and the longest matching path decides (2.2.2).
# Seen: robotexclusionrulesparser obeys only the first of two groups for a crawler. An empty line
# behind the user agent makes the rules below void. In each case, the crawler fetches pages that the
# site excludes. The first rule that matches decides, even with the syntax GYM2008, which is the
# library's default.
# It matters for files that are written by several plugins, each with a group. Protego, beside it,
# follows the RFC in all cases.
# robotexclusionrulesparser 1.7.1, Protego 0.7.0;
# https://www.rfc-editor.org/rfc/rfc9309#section-2.2.1
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'robotexclusionrulesparser==1.7.1' 'Protego==0.7.0'
python --version
pip freeze

cat >program.py <<'EOF'
import sys

from protego import Protego
from robotexclusionrulesparser import RobotExclusionRulesParser

FILES = {
    "two groups": "User-agent: pies\nDisallow: /a\n\nUser-agent: pies\nDisallow: /b\n",
    "an empty line": "User-agent: pies\n\nDisallow: /b\n",
    "the longest path": "User-agent: pies\nAllow: /\nDisallow: /b\n",
}
seen = {}
for name, text in FILES.items():
    parser = RobotExclusionRulesParser()
    parser.parse(text)
    other = Protego.parse(text)
    url = "http://example.com/b"
    seen[name] = [parser.is_allowed("pies", "/b"), other.can_fetch(url, "pies")]
    print(f"{name}: may fetch /b? robotexclusionrulesparser: {seen[name][0]},", end=" ")
    print(f"Protego: {seen[name][1]}")
if seen != {
    "two groups": [True, False],
    "an empty line": [True, False],
    "the longest path": [True, False],
}:
    sys.exit("The behaviour has changed.")
EOF
python program.py
