#!/usr/bin/env bash
# Expected: the attribute uri of a record is the address that was written to the tag, with letters
# such as é as %C3%A9. Its documentation says that it is the attribute iri, converted to ASCII.
# Seen: in path, query and fragment all but letters, digits, "_.-~" and "/" is escaped: ?id=7
# becomes ?id%3D7, a & becomes %26, and a percent sign becomes %25, so %20 is %2520. The attribute
# iri and the octets of the message are right. A record whose uri is set to its own uri changes the
# other way: iri has / in place of %2F.
# It matters for programs that open what a tag holds: a server finds no parameter id, and an address
# with a space is a 404. Addresses without a query, as in the documentation, work.
# ndeflib 0.3.3; the function quote in the package's ndef/uri.py;
# https://www.rfc-editor.org/rfc/rfc3987#section-3.1
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'ndeflib==0.3.3'
python --version
pip freeze

cat >program.py <<'EOF'
import sys

import ndef

EXPECTED = {
    "https://example.com/pies": "https://example.com/pies",
    "https://example.com/?id=7": "https://example.com/?id%3D7",
    "https://example.com/?a=1&b=2": "https://example.com/?a%3D1%26b%3D2",
    "https://example.com/apple%20pie": "https://example.com/apple%2520pie",
}
seen, kept = {}, True
for address in EXPECTED:
    octets = b"".join(ndef.message_encoder([ndef.UriRecord(address)]))
    (record,) = ndef.message_decoder(octets)
    seen[address] = record.uri
    kept = kept and record.iri == address
    print(f"{address}: iri {record.iri}, uri {record.uri}")
record = ndef.UriRecord()
record.uri = "https://example.com/a%2Fb"
print("set to /a%2Fb:", record.iri)
if seen != EXPECTED or not kept or record.iri != "https://example.com/a/b":
    sys.exit("The behaviour has changed.")
EOF
python program.py
