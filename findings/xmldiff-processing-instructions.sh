#!/usr/bin/env bash
# Expected: xmldiff compares documents with processing instructions, such as <?page-break?> in
# DocBook, as it compares those with comments.
# Seen: it raises a TypeError about a "sequence item", also for two equal documents. The same with a
# comment works, and an instruction before the root element does no harm.
# It matters for books and office documents, where the instruction is deep in a long file, and the
# message names neither it nor a line.
# xmldiff 3.0; https://www.w3.org/TR/xml/#sec-pi
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'xmldiff==3.0'
python --version
pip freeze

cat >program.py <<'EOF'
import sys

from xmldiff import main

seen = {}
for extra in "<!-- page break -->", "<?page-break?>":
    for name, text in {
        "inside": f"<book><page>1</page>{extra}<page>2</page></book>",
        "before": f"{extra}<book><page>1</page></book>",
    }.items():
        try:
            main.diff_texts(text, text.replace("1", "one"))
            result = "compared"
        except TypeError as error:
            result = type(error).__name__
        seen[extra, name] = result
        print(extra, name, result)
EXPECTED = {
    ("<!-- page break -->", "inside"): "compared",
    ("<!-- page break -->", "before"): "compared",
    ("<?page-break?>", "inside"): "TypeError",
    ("<?page-break?>", "before"): "compared",
}
if seen != EXPECTED:
    sys.exit("The behaviour has changed.")
EOF
python program.py
