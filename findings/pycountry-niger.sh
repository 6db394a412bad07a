#!/usr/bin/env bash
# Expected: a fuzzy search for the exact name of a country finds this country first.
# Seen: pycountry's search_fuzzy("Niger") has Nigeria first and Niger second, because the points of
# a country's parts are added to those of its name, and Nigeria has a state Niger. Other names that
# are part of another one, such as Guinea and Oman, are first. The island in a search for "Man"
# comes after Oman, Romania and Germany.
# It matters because most callers take the first result: addresses in Niger get the code NG.
# lookup() finds exact names.
# pycountry 26.2.16; https://www.iso.org/iso-3166-country-codes.html;
# https://github.com/pycountry/pycountry
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'pycountry==26.2.16'
python --version
pip freeze

cat >program.py <<'EOF'
import sys

import pycountry

seen = {
    text: [country.name for country in pycountry.countries.search_fuzzy(text)[:3]]
    for text in ("Niger", "Nigeria", "Guinea", "Oman", "Man")
}
for text, names in seen.items():
    print(text, "finds", names)
print("lookup('Niger') finds", pycountry.countries.lookup("Niger").name)
if seen["Niger"] != ["Nigeria", "Niger"] or seen["Man"] != ["Oman", "Romania", "Germany"]:
    sys.exit("The behaviour has changed.")
EOF
python program.py
