#!/usr/bin/env bash
# Expected: of "apple pie" and "meat pie", the query "apple" finds the first: it has the word.
# Seen: with BM25Okapi both scores are 0, since a word in exactly half of the documents weighs log
# 1, and get_top_n() returns "meat pie", the last of equals. It is the same for four documents of
# eight. With BM25Plus, a document that has none of the words has a positive score.
# It matters for small collections, such as the passages of one file for a language model, and for
# tests, which have two documents as a rule: the best match is the wrong one, and a threshold above
# 0 drops all or keeps all.
# rank-bm25 0.2.2; get_scores and get_top_n in the package's rank_bm25.py
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'rank-bm25==0.2.2' 'numpy==2.4.6'
python --version
pip freeze

cat >program.py <<'EOF'
import sys

from rank_bm25 import BM25Okapi, BM25Plus

DOCUMENTS = ["apple pie", "meat pie"]
seen = {}
for search in (BM25Okapi, BM25Plus):
    index = search([document.split() for document in DOCUMENTS])
    scores = [round(float(score), 1) for score in index.get_scores(["apple"])]
    (best,) = index.get_top_n(["apple"], DOCUMENTS, n=1)
    seen[search.__name__] = scores, best
    print(f"{search.__name__}: scores {scores}, the best is {best!r}")
if seen != {
    "BM25Okapi": ([0.0, 0.0], "meat pie"),
    "BM25Plus": ([2.2, 1.1], "apple pie"),
}:
    sys.exit("The behaviour has changed.")
EOF
python program.py
