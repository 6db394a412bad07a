#!/usr/bin/env bash
# Expected: a sentence in CoNLL-U that conllu parses and serializes is the same.
# Seen: a value in the columns FEATS and MISC ends at its first equals sign:
# "Url=https://example.com/?id=7" becomes "Url=https://example.com/?id", and "Gloss=a=b" becomes
# "Gloss=a". pyconll keeps them.
# It matters for corpora, whose column MISC holds links to sources, glosses and translations: a
# program that corrects one lemma cuts the links of the whole file.
# conllu 6.0.0, beside pyconll 3.3.1; parse_dict_value in the package's conllu/parser.py;
# https://universaldependencies.org/format.html
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'conllu==6.0.0' 'pyconll==3.3.1'
python --version
pip freeze

cat >program.py <<'EOF'
import sys

import conllu
import pyconll.unit.sentence

EXPECTED = {
    "SpaceAfter=No": "SpaceAfter=No",
    "Url=https://example.com/?id=7": "Url=https://example.com/?id",
    "Gloss=a=b|Ref=2": "Gloss=a|Ref=2",
}
seen, other = {}, {}
for misc in EXPECTED:
    line = f"1\tpie\tpie\tNOUN\t_\t_\t0\troot\t_\t{misc}"
    seen[misc] = conllu.parse(line + "\n\n")[0].serialize().split("\t")[-1].strip()
    other[misc] = pyconll.unit.sentence.Sentence(line).conll().split("\t")[-1].strip()
    print(f"{misc}: conllu {seen[misc]}, pyconll {other[misc]}")
if seen != EXPECTED or [*other] != [*other.values()]:
    sys.exit("The behaviour has changed.")
EOF
python program.py
