#!/usr/bin/env bash
# Expected: the hexadecimal notation of an sRGB colour has six digits, whichever colour it was
# converted from.
# Seen: with colormath, a bright yellow in CIE Lab is #f51001c, an orange in LCh #12e5c3a. Lab has
# colours that sRGB hasn't, and a component above 1 gets three digits. The library cuts off negative
# components but not these. `clamped_rgb_g` would have the right value.
# It matters because a browser ignores such a colour, while all darker ones are right.
# colormath 3.0.0; https://www.w3.org/TR/css-color-4/#hex-notation;
# https://github.com/gtaylor/python-colormath
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'colormath==3.0.0'
python --version
pip freeze

cat >program.py <<'EOF'
import sys

from colormath.color_conversions import convert_color
from colormath.color_objects import LabColor, LCHabColor, sRGBColor

EXPECTED = {
    LabColor(97, -20, 90): "#f51001c",
    LCHabColor(70, 100, 40): "#12e5c3a",
    LabColor(80, -100, 80): "#00ee00",
    LabColor(50, 20, 30): "#a16945",
}
seen = {}
for color in EXPECTED:
    rgb = convert_color(color, sRGBColor)
    seen[color] = rgb.get_rgb_hex()
    print(color, "|", rgb, "|", seen[color])
if seen != EXPECTED:
    sys.exit("The behaviour has changed.")
EOF
python program.py
