#!/usr/bin/env bash
# Expected: a normalised URL leads to the same resource (RFC 3986, 6). Two slashes in a path aren't
# one slash: the empty segment counts (3.3), and no step of the normalisation removes it (6.2.2.3).
# Seen: url-normalize makes /a/b of /a//b, so http://example.com/https://example.org/ has another
# target, as in archives and proxies that have an address in their path. Of the fragment #!/pies it
# makes the query ?_escaped_fragment_=/pies, a scheme that Google gave up in 2015.
# It matters for crawlers and for keys of caches: two pages become one, and one that exists is a
# 404.
# url-normalize 3.1.0; https://www.rfc-editor.org/rfc/rfc3986#section-6.2.2;
# https://developers.google.com/search/blog/2015/10/deprecating-our-ajax-crawling-scheme
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'url-normalize==3.1.0'
python --version
pip freeze

cat >program.py <<'EOF'
import sys

import url_normalize

EXPECTED = {
    "http://example.com/a//b": "http://example.com/a/b",
    "http://example.com/https://example.org/": "http://example.com/https:/example.org/",
    "http://example.com/#!/pies": "http://example.com/?_escaped_fragment_=/pies",
    "HTTP://EXAMPLE.com:80/%7Eada/../b": "http://example.com/b",
}
seen = {url: url_normalize.url_normalize(url) for url in EXPECTED}
for url, normal in seen.items():
    print(url, "|", normal)
if seen != EXPECTED:
    sys.exit("The behaviour has changed.")
EOF
python program.py
