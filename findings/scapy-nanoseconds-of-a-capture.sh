#!/usr/bin/env bash
# Expected: wrpcap() of the packets that rdpcap() has read from a file with nanoseconds writes their
# times with nanoseconds, because each packet has them in its attribute `time`.
# Seen: the file has the header for microseconds, and the times are rounded: ...123456789 becomes
# ...123457. wrpcap(..., nano=True) keeps them, if one knows which kind the first file was, which
# rdpcap() doesn't return. dpkt reads both, with the digits they have.
# It matters for measurements of latencies in networks, where a capture is filtered with a script:
# packets a few hundred nanoseconds apart have the same time.
# scapy 2.8.0, beside dpkt 1.9.8; RawPcapWriter in the package's scapy/utils.py;
# https://datatracker.ietf.org/doc/draft-ietf-opsawg-pcap/
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'scapy==2.8.0' 'dpkt==1.9.8'
python --version
pip freeze

cat >program.py <<'EOF'
import struct
import sys

import dpkt
from scapy.utils import rdpcap, wrpcap

packet = bytes(12) + b"\x08\x00" + bytes(46)
times = [(1_700_000_000, 123_456_789), (1_700_000_000, 123_457_100)]
with open("first.pcap", "wb") as file:
    file.write(struct.pack("<IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, 65535, 1))
    for seconds, nanoseconds in times:
        file.write(struct.pack("<4I", seconds, nanoseconds, len(packet), len(packet)) + packet)
packets = rdpcap("first.pcap")
wrpcap("second.pcap", packets)
wrpcap("third.pcap", packets, nano=True)
seen = {}
for name in ("first", "second", "third"):
    with open(f"{name}.pcap", "rb") as file:
        seen[name] = [str(time).rstrip("0") for time, _ in dpkt.pcap.Reader(file)]
    print(name, seen[name])
right = ["1700000000.123456789", "1700000000.1234571"]
if seen != {"first": right, "second": ["1700000000.123457"] * 2, "third": right}:
    sys.exit("The behaviour has changed.")
EOF
python program.py
