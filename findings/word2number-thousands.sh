#!/usr/bin/env bash
# Expected: "two million three thousand" is 2,003,000.
# Seen: word2number gives 2,004,003. After "million" or "billion", thousands are counted twice if
# nothing follows them: 1,003 is added for "three thousand". "two million three thousand five" is
# right, and "minus five" is 5. No exception is raised.
# It matters for forms that are filled in by voice and for texts of laws and contracts.
# word2number 1.1; https://github.com/akshaynagpal/w2n/blob/master/word2number/w2n.py
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'word2number==1.1'
python --version
pip freeze

cat >program.py <<'EOF'
import sys

from word2number import w2n

EXPECTED = {
    "two million three thousand": 2_003_000,
    "two million three hundred thousand": 2_300_000,
    "one million two thousand": 1_002_000,
    "two billion five thousand": 2_000_005_000,
    "two million three thousand five": 2_003_005,
    "minus five": -5,
}
seen = {words: w2n.word_to_num(words) for words in EXPECTED}
for words, number in EXPECTED.items():
    print(f"{words}: {seen[words]:,} | expected {number:,}")
if [*seen.values()] != [2_004_003, 2_301_300, 1_003_002, 2_000_006_005, 2_003_005, 5]:
    sys.exit(f"The behaviour has changed: {seen}")
EOF
python program.py
