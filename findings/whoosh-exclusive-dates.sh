#!/usr/bin/env bash
# Expected: in Whoosh's query language, braces exclude the ends of a range: {apple TO bear} has
# neither word.
# Seen: with dates, braces include both ends. {2023 TO 2025} finds what was written in 2023, 2024
# and 2025. For numbers and texts in the same schema, braces exclude. No warning follows.
# It matters for reports by month: {2024-01 TO 2024-03} is three months and not one.
# Whoosh 2.7.4; https://whoosh.readthedocs.io/en/latest/querylang.html ("Ranges")
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'Whoosh==2.7.4'
python --version
pip freeze

cat >program.py <<'EOF'
import datetime
import sys

from whoosh import fields
from whoosh.filedb.filestore import RamStorage
from whoosh.qparser import QueryParser

schema = fields.Schema(year=fields.NUMERIC(stored=True), day=fields.DATETIME, name=fields.ID)
index = RamStorage().create_index(schema)
writer = index.writer()
for year, name in {2023: "apple", 2024: "banana", 2025: "bear"}.items():
    writer.add_document(year=year, day=datetime.datetime(year, 6, 1), name=name)
writer.commit()
seen = {}
with index.searcher() as searcher:
    for text in (
        "year:[2023 TO 2025]",
        "year:{2023 TO 2025}",
        "name:{apple TO bear}",
        "day:{2023 TO 2025}",
        "day:[2023 TO 2025}",
        "day:{2023-06 TO 2025-06}",
    ):
        query = QueryParser("name", schema).parse(text)
        seen[text] = sorted(hit["year"] for hit in searcher.search(query))
        print(text, "finds", seen[text])
if seen != {
    "year:[2023 TO 2025]": [2023, 2024, 2025],
    "year:{2023 TO 2025}": [2024],
    "name:{apple TO bear}": [2024],
    "day:{2023 TO 2025}": [2023, 2024, 2025],
    "day:[2023 TO 2025}": [2023, 2024, 2025],
    "day:{2023-06 TO 2025-06}": [2023, 2024, 2025],
}:
    sys.exit("The behaviour has changed.")
EOF
python program.py
