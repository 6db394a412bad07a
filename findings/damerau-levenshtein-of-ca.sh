#!/usr/bin/env bash
# Expected: three libraries have one Damerau-Levenshtein distance of two words.
# Seen: "CA" becomes "ABC" in two steps (swap, insert). jellyfish and rapidfuzz give 2. textdistance
# gives 3: by default it doesn't change letters between two swapped ones, which rapidfuzz calls OSA,
# another measure. The same library's similarity of two equal words is less than 1 for the measures
# by compression.
# It matters where a limit such as "at most two typing errors" moves from one library to another:
# other pairs of customers are the same. The measure of textdistance isn't a metric, so trees and
# clusters that rely on the triangle inequality miss neighbours.
# textdistance 4.6.3 (DamerauLevenshtein, restricted=True), jellyfish 1.3.0, rapidfuzz 3.14.6
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check \
    'textdistance==4.6.3' 'jellyfish==1.3.0' 'rapidfuzz==3.14.6'
python --version
pip freeze

cat >program.py <<'EOF'
import sys

import jellyfish
import textdistance
from rapidfuzz.distance import OSA, DamerauLevenshtein

seen = {
    "textdistance": int(textdistance.damerau_levenshtein("CA", "ABC")),
    "jellyfish": jellyfish.damerau_levenshtein_distance("CA", "ABC"),
    "rapidfuzz": DamerauLevenshtein.distance("CA", "ABC"),
    "rapidfuzz, OSA": OSA.distance("CA", "ABC"),
    "textdistance, CA to AC to ABC": int(
        textdistance.damerau_levenshtein("CA", "AC") + textdistance.damerau_levenshtein("AC", "ABC")
    ),
    "textdistance, entropy of RLE, pie and pie": textdistance.rle_ncd.normalized_similarity(
        "pie", "pie"
    ),
}
EXPECTED = dict(zip(seen, (3, 2, 2, 3, 2, 0.0), strict=True))
print(*seen.items(), sep="\n")
if seen != EXPECTED:
    sys.exit("The behaviour has changed.")
EOF
python program.py
