#!/usr/bin/env bash
# Expected: in ABC notation, a field in brackets changes the key or the unit of length inside of a
# line, [K:C] and [L:1/4] (3.2 of the standard), and the rests `x` and `Z` take time like `z` (4.5).
# Seen: music21 ignores both fields, so F after [K:C] is still F sharp, and notes after [L:1/4] have
# half of their length. The rests are left out, and all that follows begins early. There is no
# warning.
# It matters for songs that change their key in the middle and for parts that wait for some bars.
# music21 10.5.1; https://abcnotation.com/wiki/abc:standard:v2.1
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'music21==10.5.1'
python --version
pip freeze

cat >program.py <<'EOF'
import sys

from music21 import converter

EXPECTED = {  # notes as name, length and start in quarters
    "K:D\nF [K:C] F|": [("F#4", 0.5, 0.0), ("F#4", 0.5, 0.5)],
    "K:C\nF [L:1/4] F|": [("F4", 0.5, 0.0), ("F4", 0.5, 0.5)],
    "K:C\nz4 F|": [("F4", 0.5, 2.0)],
    "K:C\nx4 F|": [("F4", 0.5, 0.0)],
    "K:C\nZ|F|": [("F4", 0.5, 0.0)],
}
seen = {}
for text in EXPECTED:
    score = converter.parse(f"X:1\nM:4/4\nL:1/8\n{text}\n", format="abc").flatten()
    seen[text] = [
        (one.nameWithOctave, float(one.quarterLength), float(one.offset)) for one in score.notes
    ]
    print(text.replace("\n", " / "), "|", seen[text])
if seen != EXPECTED:
    sys.exit("The behaviour has changed.")
EOF
python program.py
