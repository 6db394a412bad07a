#!/usr/bin/env bash
# Expected: an arc with a radius of 0 in the path of an SVG is a straight line, as SVG 1.1 requires,
# so a program can write "rounded" corners of 0.
# Seen: svgpathtools makes a line of it. In svgelements its length is 0, and fontTools draws
# nothing, so the outline jumps or is cut short.
# It matters for drawings that are cut or engraved: the corner of a plate is missing, and a length
# or a price that is computed from the path is too small.
# svgelements 1.9.6, fonttools 4.68.0, beside svgpathtools 1.8.0;
# https://www.w3.org/TR/SVG11/implnote.html#ArcOutOfRangeParameters
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check \
    'svgelements==1.9.6' 'fonttools==4.68.0' 'svgpathtools==1.8.0'
python --version
pip freeze

cat >program.py <<'EOF'
import sys

import svgelements
import svgpathtools
from fontTools.pens.recordingPen import RecordingPen
from fontTools.svgLib.path import parse_path

seen = {}
for path in "M0 0L10 0", "M0 0A0 0 0 0 1 10 0", "M0 0A0 5 0 0 1 10 0":
    pen = RecordingPen()
    parse_path(path, pen)
    seen[path] = {
        "svgpathtools": float(svgpathtools.parse_path(path).length()),
        "svgelements": float(svgelements.Path(path).length()),
        "fontTools": [name for name, _points in pen.value],
    }
    print(path, seen[path])
LINE = {"svgpathtools": 10, "svgelements": 10, "fontTools": ["moveTo", "lineTo", "endPath"]}
MISSING = {"svgpathtools": 10, "svgelements": 0, "fontTools": ["moveTo", "endPath"]}
EXPECTED = dict(zip(seen, (LINE, MISSING, MISSING), strict=True))
if seen != EXPECTED:
    sys.exit("The behaviour has changed.")
EOF
python program.py
