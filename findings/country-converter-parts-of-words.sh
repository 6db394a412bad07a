#!/usr/bin/env bash
# Expected: country_converter finds no country for "Perugia", an Italian city, or "Chadwick".
# Seen: its patterns have no end of a word, so Perugia is Peru, Chadwick is Chad and Indochina is
# China. England is the United Kingdom, but Scotland, Wales and Northern Ireland are not found.
# Romania isn't taken for Oman.
# It matters for columns that mix countries with cities or names: a wrong country has no warning, a
# missing one has.
# country_converter 1.3.2; the column "regex" of the package's country_data.tsv
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'country_converter==1.3.2' 'pandas==2.3.3'
python --version
pip freeze

cat >program.py <<'EOF'
import logging
import sys

import country_converter

logging.getLogger("country_converter").setLevel(logging.CRITICAL)
EXPECTED = {
    "Peru": "PER",
    "Perugia": "PER",
    "Chadwick": "TCD",
    "Indochina": "CHN",
    "Romania": "ROU",
    "England": "GBR",
    "Scotland": "not found",
    "Wales": "not found",
    "Northern Ireland": "not found",
}
seen = {name: country_converter.convert(name, to="ISO3") for name in EXPECTED}
print(*seen.items(), sep="\n")
if seen != EXPECTED:
    sys.exit("The behaviour has changed.")
EOF
python program.py
