#!/usr/bin/env bash
# Expected: m3u8.loads(text).dumps() is the same playlist, apart from the order of its lines.
# Seen: for an encrypted low-latency playlist, whose last segment exists only in parts so far, it
# has a line `None` after the key. In HLS, a line without # is the address of a segment. Without a
# key, or without parts, the line doesn't appear.
# It matters for proxies that insert advertisements or sign addresses with this library: every live
# playlist of low-latency HLS ends in such parts, and players request a segment of the name "None".
# m3u8 6.0.0; RFC 8216, section 4.1 (lines), and draft-pantos-hls-rfc8216bis, section 4.4.4.9
# (EXT-X-PART); https://github.com/globocom/m3u8/blob/master/m3u8/model.py, Segment.dumps
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'm3u8==6.0.0'
python --version
pip freeze

cat >program.py <<'EOF'
import sys

import m3u8

KEY = '#EXT-X-KEY:METHOD=AES-128,URI="https://example.com/key"\n'
PARTS = """\
#EXT-X-PART:DURATION=1,URI="part267.0.mp4"
#EXT-X-PART:DURATION=1,URI="part267.1.mp4"
"""
PLAYLIST = """\
#EXTM3U
#EXT-X-TARGETDURATION:4
#EXT-X-VERSION:6
#EXT-X-PART-INF:PART-TARGET=1
#EXT-X-MEDIA-SEQUENCE:266
{key}#EXTINF:4,
segment266.mp4
{parts}"""

seen = []
for key, parts in (KEY, PARTS), ("", PARTS), (KEY, ""):
    text = PLAYLIST.format(key=key, parts=parts)
    again = m3u8.loads(text).dumps()
    addresses = [line for line in again.splitlines() if line and not line.startswith("#")]
    print(text, again, addresses, sep="\n")
    seen.append(addresses)
if seen != [["segment266.mp4", "None"], ["segment266.mp4"], ["segment266.mp4"]]:
    sys.exit("The behaviour has changed.")
EOF
python program.py
