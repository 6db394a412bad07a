#!/usr/bin/env bash
# Expected: G-code that machines run, with G1 said once for several lines, and 5. for 5, is read
# completely.
# Seen: gcodeparser needs a command in each line. A line "X20 Y20", which continues the G1 before
# it, is missing, without a warning. A coordinate after a comment in parentheses is lost, G54.1 is
# G54, and "X5." raises a ValueError.
# It matters because programs for milling say G1 once: length, time and bounds of a path are those
# of a fraction of it.
# gcodeparser 0.3.0; https://linuxcnc.org/docs/html/gcode/overview.html (modal groups, numbers)
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'gcodeparser==0.3.0'
python --version
pip freeze

cat >program.py <<'EOF'
import sys

from gcodeparser import GcodeParser

EXPECTED = {
    "G1 X10 Y10\nX20 Y20\nX30 Y0": ["G1 {'X': 10, 'Y': 10}"],
    "G1 X1 (slow) Y2": ["G1 {'X': 1}"],
    "G54.1 P5": ["G54 {}"],
    "G90 G1 X1": ["G90 {}", "G1 {'X': 1}"],
    "G1 X5.": "ValueError",
}
seen = {}
for text in EXPECTED:
    try:
        lines = GcodeParser(text).lines
    except ValueError as error:
        seen[text] = type(error).__name__
    else:
        seen[text] = [f"{line.command_str} {line.params}" for line in lines]
    print(repr(text), "->", seen[text])
if seen != EXPECTED:
    sys.exit("The behaviour has changed.")
EOF
python program.py
