#!/usr/bin/env bash
# Expected: in a zone file, \065 in a text is the byte with the decimal number 65, an A, and a
# record may state its time to live as 1h (RFC 1035, section 5.1, and BIND). @ is the origin. A zone
# that is written can be read again.
# Seen: dnslib reads the number as an octal one, so \065 is 5, and \195, part of an é, a ValueError.
# It writes a quotation mark in a text without its backslash, so the text is two or invalid. The
# target @ of a CNAME is a host named @. A record with 1h is an error, $TTL 1h is not.
# It matters for TXT records with keys and policies, which other servers answer right: a client gets
# another text, and a copy of the zone is broken.
# dnslib 0.9.26, beside dnspython 2.9.2; https://www.rfc-editor.org/rfc/rfc1035#section-5.1
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'dnslib==0.9.26' 'dnspython==2.9.2'
python --version
pip freeze

cat >program.py <<'EOF'
import sys

import dns.zone
import dnslib

RECORDS = [
    r'www 300 IN TXT "\065pple"',
    r'www 300 IN TXT "\195\169"',
    r'www 300 IN TXT "10\" pies"',
    "www 300 IN CNAME @",
    "www 1h IN A 192.0.2.1",
]
EXPECTED = [r'"5pple"', "ValueError", r'"10" pies"', "@.example.", "DNSError"]
seen = []
for record in RECORDS:
    try:
        (read,) = dnslib.RR.fromZone("$ORIGIN example.\n$TTL 1h\n" + record + "\n")
        seen.append(str(read.rdata))
    except (ValueError, dnslib.DNSError) as error:
        seen.append(type(error).__name__)
    text = "@ 300 IN SOA a b 1 2 3 4 5\n@ 300 IN NS a\n" + record + "\n"
    zone = dns.zone.from_text(text, "example.", relativize=False)
    (data,) = zone["www.example."].rdatasets[0]
    print(f"{record}: dnspython {data}, dnslib {seen[-1]}")
if seen != EXPECTED:
    sys.exit("The behaviour has changed.")
EOF
python program.py
