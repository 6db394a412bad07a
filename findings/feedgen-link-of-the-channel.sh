#!/usr/bin/env bash
# Expected: in the RSS of a feed with two links, one to the site (rel="alternate") and one to the
# feed (rel="self"), the channel's <link> is the site. RSS defines it as the URL of the website that
# the channel belongs to.
# Seen: it is the feed's own address. feedgen takes the link that was added last, whatever its
# relation is, although a comment beside it says "first". Its documentation adds the site first.
# With the calls in the other order, RSS is right. In Atom, both orders are right.
# It matters to readers of the feed: a click on the channel's title opens XML in place of the site,
# and readers that use the link as the name of a channel take it for another one.
# feedgen 1.0.0; https://www.rssboard.org/rss-specification#requiredChannelElements;
# https://lkiesow.github.io/python-feedgen;
# https://github.com/lkiesow/python-feedgen/blob/main/feedgen/feed.py, link
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'feedgen==1.0.0'
python --version
pip freeze

cat >program.py <<'EOF'
import sys
import xml.etree.ElementTree as ElementTree

from feedgen.feed import FeedGenerator

SITE = {"href": "https://example.com/", "rel": "alternate"}
FEED = {"href": "https://example.com/feed.xml", "rel": "self"}
ATOM = "{http://www.w3.org/2005/Atom}"

seen = []
for links in [SITE, FEED], [FEED, SITE]:
    feed = FeedGenerator()
    feed.id("https://example.com/")
    feed.title("Pies")
    feed.description("New pies")
    for link in links:
        feed.link(**link)
    channel = ElementTree.fromstring(feed.rss_str()).find("channel")
    atom = ElementTree.fromstring(feed.atom_str())
    alternate = atom.find(f"{ATOM}link[@rel='alternate']").get("href")
    print("links in the order", [link["rel"] for link in links])
    print("  RSS: <link> is", channel.findtext("link"), "| Atom: alternate is", alternate)
    seen.append((channel.findtext("link"), alternate))
if seen != [(FEED["href"], SITE["href"]), (SITE["href"], SITE["href"])]:
    sys.exit("The behaviour has changed.")
EOF
python program.py
