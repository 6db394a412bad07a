#!/usr/bin/env bash
# Expected: in TTML, the begin of an element counts from the begin of the element around it. In a
# div that begins at 10s, a paragraph from 3s to 4s is shown from 13 to 14 seconds (TTML1, section
# 10.2.1). A div without an end lasts as long as its paragraphs.
# Seen: pycaption ignores the times of a div, and shows the paragraph at 3 seconds. Of two divs, it
# keeps only the last. ttconv adds the times, but ends the div at 4 seconds, before it begins, so
# the paragraph is missing. If the div has an end, ttconv is right.
# It matters for files in which each scene or reel is a div: captions are lost or ten seconds early.
# No exception is raised.
# pycaption 2.3.14, ttconv 1.2.3; https://www.w3.org/TR/ttml1/#timing-attribute-begin
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'pycaption==2.3.14' 'ttconv==1.2.3'
python --version
pip freeze

cat >program.py <<'EOF'
import io
import sys
import warnings
import xml.etree.ElementTree as ElementTree

import ttconv.imsc.reader
import ttconv.srt.writer
from pycaption import DFXPReader

warnings.simplefilter("ignore")
FILE = """<?xml version="1.0" encoding="UTF-8"?>
<tt xmlns="http://www.w3.org/ns/ttml" xmlns:tts="http://www.w3.org/ns/ttml#styling"
    xml:lang="en">
<head><layout>
<region xml:id="r" tts:extent="100% 100%" tts:origin="0% 0%"/>
</layout></head>
<body region="r">{}</body></tt>"""
PARAGRAPH = '<p begin="3s" end="4s">two</p>'
EXPECTED = {
    f"<div>{PARAGRAPH}</div>": (["two 3.0"], ["3.0"]),
    f'<div begin="10s" end="20s">{PARAGRAPH}</div>': (["two 3.0"], ["13.0"]),
    f'<div begin="10s">{PARAGRAPH}</div>': (["two 3.0"], []),
    f'<div><p begin="1s" end="2s">one</p></div><div>{PARAGRAPH}</div>': (
        ["two 3.0"],
        ["1.0", "3.0"],
    ),
}
seen = {}
for body in EXPECTED:
    text = FILE.format(body)
    captions = DFXPReader().read(text).get_captions("en")
    by_pycaption = [f"{caption.get_text()} {caption.start / 1e6}" for caption in captions]
    model = ttconv.imsc.reader.to_model(ElementTree.parse(io.BytesIO(text.encode())))
    lines = ttconv.srt.writer.from_model(model).splitlines()
    starts = [line[6:12].replace(",", ".") for line in lines if "-->" in line]
    seen[body] = by_pycaption, [str(float(start)) for start in starts]
    print(f"{body}: pycaption {seen[body][0]}, ttconv {seen[body][1]}")
if seen != EXPECTED:
    sys.exit("The behaviour has changed.")
EOF
python program.py
