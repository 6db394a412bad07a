#!/usr/bin/env bash
# Expected: a library for RSS writes an aware datetime, 12:00 at +02:00, as 10:00 GMT or 12:00
# +0200.
# Seen: PyRSS2Gen and rfeed ignore the zone and write 12:00 GMT, for this and for every other zone.
# A docstring of PyRSS2Gen asks for GMT, and aware datetimes aren't refused.
# It matters for whoever does it right and uses aware datetimes: in Berlin each article is dated two
# hours in the future, and many readers hide or reorder those.
# PyRSS2Gen 1.1, rfeed 1.1.1; _format_date in PyRSS2Gen.py, and rfeed's package; RFC 822, section 5
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'PyRSS2Gen==1.1' 'rfeed==1.1.1'
python --version
pip freeze

cat >program.py <<'EOF'
import datetime
import re
import sys

import PyRSS2Gen
import rfeed

HOURS = (0, 2, -5)
seen = {"PyRSS2Gen": [], "rfeed": []}
for hours in HOURS:
    zone = datetime.timezone(datetime.timedelta(hours=hours))
    date = datetime.datetime(2024, 6, 1, 12, tzinfo=zone)
    item = PyRSS2Gen.RSSItem(title="pie", pubDate=date)
    first = PyRSS2Gen.RSS2("pies", "https://example.com", "all", items=[item]).to_xml()
    item = rfeed.Item(title="pie", pubDate=date)
    second = rfeed.Feed("pies", "https://example.com", "all", items=[item]).rss()
    for name, text in zip(seen, (first, second), strict=True):
        seen[name] += re.findall("<pubDate>(.+?)</pubDate>", text)
        print(date.isoformat(), name, seen[name][-1])
EXPECTED = {name: ["Sat, 01 Jun 2024 12:00:00 GMT"] * len(HOURS) for name in seen}
if seen != EXPECTED:
    sys.exit("The behaviour has changed.")
EOF
python program.py
