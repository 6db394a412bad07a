#!/usr/bin/env bash
# Expected: "Fish &amp; chips" in a WebVTT file is "Fish & chips" in the SubRip file that is made of
# it, because only WebVTT has character references (its section 4.2.2). A file that is read and
# written in the same format keeps its texts.
# Seen: webvtt-py and pysubs2 write "Fish &amp; chips" into the SubRip file, and that is what viewers
# read. pysubs2 also leaves out text in braces or angle brackets, from SubRip to SubRip too:
# "{smiling} Hello <you>" becomes "Hello". It takes braces for codes of SSA, its own format, and
# brackets for tags. Neither an exception nor a warning follows.
# It matters for services that offer subtitles for download, or shift their times: such characters
# are rare, so a test passes, and nobody reads a whole film's subtitles again.
# webvtt-py 0.6.0, pysubs2 1.8.1 (1.9.0 for Python 3.12 is the same);
# https://www.w3.org/TR/webvtt1/#webvtt-caption-or-subtitle-cue-text;
# https://github.com/tkarabela/pysubs2/blob/master/pysubs2/formats/subrip.py
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'webvtt-py==0.6.0' 'pysubs2==1.8.1'
python --version
pip freeze

cat >program.py <<'EOF'
import io
import sys

import pysubs2
import webvtt

WEBVTT = """\
WEBVTT

00:01.000 --> 00:04.000
Fish &amp; chips
"""
SUBRIP = """\
1
00:00:01,000 --> 00:00:04,000
{smiling} Hello <you>

2
00:00:05,000 --> 00:00:06,000
I <3 pies
"""


def by_webvtt(text):
    target = io.StringIO()
    webvtt.from_string(text).write(target, format="srt")
    return target.getvalue()


def by_pysubs2(text):
    return pysubs2.SSAFile.from_string(text).to_string("srt")


seen = {}
for name, text in (
    ("webvtt-py, from WebVTT", by_webvtt(WEBVTT)),
    ("pysubs2, from WebVTT", by_pysubs2(WEBVTT)),
    ("pysubs2, from SubRip", by_pysubs2(SUBRIP)),
):
    print(f"{name}:\n{text}")
    lines = text.splitlines()
    seen[name] = [lines[number + 1] for number, line in enumerate(lines) if " --> " in line]
if seen != {
    "webvtt-py, from WebVTT": ["Fish &amp; chips"],
    "pysubs2, from WebVTT": ["Fish &amp; chips"],
    "pysubs2, from SubRip": ["Hello", "I <3 pies"],
}:
    sys.exit("The behaviour has changed.")
EOF
python program.py
