#!/usr/bin/env bash
# Expected: a function that turns the numbers in a Chinese text into digits leaves words that only
# contain such a sign, as it leaves 万一, "in case", and 千万, "by all means".
# Seen: cn2an.transform() turns 一起, "together", into 1起, 统一, "unified", into 统1, and 十分好, "very
# good", into 10分好. Monday, 星期一, is 星期1. "Three to five", 三五个, becomes 35个. Dates, percentages and
# negative numbers are right.
# It matters for texts that are prepared for a search or for a speech program: words are no longer
# found, and three to five pieces are thirty-five.
# cn2an 0.5.24; https://github.com/Ailln/cn2an
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'cn2an==0.5.24'
python --version
pip freeze

cat >program.py <<'EOF'
import sys

import cn2an

EXPECTED = {
    "二零二四年六月一日": "2024年6月1日",
    "百分之五十": "50%",
    "万一下雨": "万一下雨",
    "我们一起去": "我们1起去",
    "统一": "统1",
    "十分好": "10分好",
    "星期一": "星期1",
    "三五个苹果": "35个苹果",
}
seen = {}
for text in EXPECTED:
    seen[text] = cn2an.transform(text)
    print(text, "becomes", seen[text])
if seen != EXPECTED:
    sys.exit("The behaviour has changed.")
EOF
python program.py
