#!/usr/bin/env bash
# Expected: a BibTeX file that pybtex reads and writes has the same fields afterwards.
# Seen: the writer escapes for LaTeX what is LaTeX already. `50\% more` is written as `50\\% more`,
# a line break and a comment, and "Apples \& Pies" has an alignment character. Addresses and DOIs
# get backslashes too. Each time the file is written adds one more. `\$` stays as it is.
# It matters for tools that sort, merge or filter a bibliography, which is what the library is for:
# the document doesn't compile any more, or loses the rest of a line, and the links are broken.
# pybtex 0.26.1, latexcodec 3.0.1; https://docs.pybtex.org/api/parsing.html
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'pybtex==0.26.1' 'latexcodec==3.0.1'
python --version
pip freeze

cat >program.py <<'EOF'
import sys

from pybtex.database import parse_string

TEXT = r"""
@article{pies,
    title = {Apples \& Pies},
    note = {50\% more for \$5},
    url = {https://example.com/apple_pie#top},
    doi = {10.1000/apple_pie},
}
"""
entries = parse_string(TEXT, "bibtex")
seen = [dict(entries.entries["pies"].fields)]
for times in 1, 2:
    text = entries.to_string("bibtex")
    print(f"written {times} times:\n{text}")
    entries = parse_string(text, "bibtex")
    seen.append(dict(entries.entries["pies"].fields))
expected = []
for times in range(3):
    more = "\\" * times
    expected.append(
        {
            "title": rf"Apples {more}\& Pies",
            "note": rf"50{more}\% more for \$5",
            "url": f"https://example.com/apple{more}_pie{more}#top",
            "doi": f"10.1000/apple{more}_pie",
        }
    )
if seen != expected:
    sys.exit("The behaviour has changed.")
EOF
python program.py
