#!/usr/bin/env bash
# Expected: a zone file with $ORIGIN that dnspython reads and writes has the same names.
# Seen: to_text() and to_file() write relative names, and no $ORIGIN. The text doesn't contain the
# domain at all. Read for example.org, the zone of example.com has www.example.org, and without an
# origin it can't be read. want_origin=True adds the line.
# It matters for programs that copy or edit zones: the file is valid, and a server that gets it
# under another name serves it, mail servers included.
# dnspython 2.9.2; https://dnspython.readthedocs.io/en/stable/zone-class.html
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'dnspython==2.9.2'
python --version
pip freeze

cat >program.py <<'EOF'
import sys

import dns.exception
import dns.zone

ZONE = """$ORIGIN example.com.
$TTL 3600
@ SOA ns hostmaster 1 7200 3600 604800 3600
@ NS ns
ns A 192.0.2.1
"""
written = dns.zone.from_text(ZONE).to_text()
print(written)
other = dns.zone.from_text(written, origin="example.org.", relativize=False)
other = other.to_text(relativize=False)
try:
    dns.zone.from_text(written)
    read = "read"
except dns.exception.DNSException as error:
    read = type(error).__name__
seen = {
    "domain is written": "example.com" in written,
    "names for example.org": sorted({line.split()[0] for line in other.splitlines()}),
    "without an origin": read,
    "want_origin": dns.zone.from_text(ZONE).to_text(want_origin=True).splitlines()[0],
}
print(*seen.items(), sep="\n")
EXPECTED = {
    "domain is written": False,
    "names for example.org": ["example.org.", "ns.example.org."],
    "without an origin": "UnknownOrigin",
    "want_origin": "$ORIGIN example.com.",
}
if seen != EXPECTED:
    sys.exit("The behaviour has changed.")
EOF
python program.py
