#!/usr/bin/env bash
# Expected: a session description that is parsed and written has the same user names, passwords and
# labels. ice-ufrag and ice-pwd are texts of letters and digits (RFC 8839, section 5.4), as is the
# identifier of a medium.
# Seen: sdp-transform makes a number of each value that looks like one. The name 1e5 is written as
# 100000.0, a password of digits loses its leading zeros, mid 01 is 1, and the cname 007 is 7. In
# the parameters of a codec, profile-level-id=42e034, H.264 at level 5.2, is 4.2e+35. 42e01f, level
# 3.1, stays.
# It matters for a gateway that edits a description: with a few of the random names, the connection
# fails, or another level of a codec is chosen.
# sdp-transform 1.1.0; https://www.rfc-editor.org/rfc/rfc8839#section-5.4;
# https://www.rfc-editor.org/rfc/rfc6184#section-8.1
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'sdp-transform==1.1.0'
python --version
pip freeze

cat >program.py <<'EOF'
import sys

import sdp_transform

LINES = [
    "a=mid:01",
    "a=ice-ufrag:1e5",
    "a=ice-pwd:0123456789012345678901",
    "a=ssrc:1 cname:007",
    "a=ice-ufrag:Pie5",
]
HEAD = ["v=0", "o=- 1 0 IN IP4 203.0.113.1", "s=-", "t=0 0", "m=video 5000 RTP/AVP 96"]
EXPECTED = [
    "a=mid:1",
    "a=ice-ufrag:100000.0",
    "a=ice-pwd:123456789012345678901",
    "a=ssrc:1 cname:7",
    "a=ice-ufrag:Pie5",
]
seen = []
for line in LINES:
    text = "".join(f"{part}\r\n" for part in [*HEAD, line])
    written = sdp_transform.write(sdp_transform.parse(text)).split("\r\n")
    (new,) = [part for part in written if part.startswith("a=")]
    print(f"{line} is written as {new}")
    seen.append(new)
levels = [
    sdp_transform.parseParams(f"profile-level-id={level};packetization-mode=1")["profile-level-id"]
    for level in ("42e01f", "42e034")
]
print("profile-level-id 42e01f and 42e034:", levels)
if seen != EXPECTED or levels != ["42e01f", 4.2e35]:
    sys.exit("The behaviour has changed.")
EOF
python program.py
