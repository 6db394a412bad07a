#!/usr/bin/env bash
# Expected: pyreadstat refuses integers that SPSS, Stata and SAS can't store, as it refuses infinity
# for Stata and long texts for SPSS's portable files.
# Seen: they are rounded. Of two accounts that differ in the last of 18 digits, both have one number
# in sav, dta and xport files. In xport, 1e300 becomes infinity and 1e-310 zero. A duration of 30
# hours is the text "1 days 06:00:00".
# It matters for identifiers of persons and accounts: two become one, and merging with the original
# table fails for most rows.
# pyreadstat 1.3.8, pandas 3.1.1; https://github.com/Roche/pyreadstat
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'pyreadstat==1.3.8' 'pandas==3.1.1'
python --version
pip freeze

cat >program.py <<'EOF'
import datetime
import sys
import warnings

import pandas
import pyreadstat

warnings.simplefilter("error")
TABLE = pandas.DataFrame(
    {
        "account": [123456789012345678, 123456789012345679],
        "size": [1e300, 1.0],
        "length": [datetime.timedelta(hours=30)] * 2,
    }
)
seen = {}
for kind in "sav", "dta", "xport":
    getattr(pyreadstat, f"write_{kind}")(TABLE, f"pies.{kind}")
    table, _meta = getattr(pyreadstat, f"read_{kind}")(f"pies.{kind}")
    accounts, sizes, lengths = (table[name].tolist() for name in table)
    seen[kind] = ({*map(int, accounts)}, sizes[0], lengths[0])
    print(kind, *seen[kind])
SAME = {123456789012345680}
EXPECTED = {
    "sav": (SAME, 1e300, "1 days 06:00:00"),
    "dta": (SAME, 1e300, "1 days 06:00:00"),
    "xport": (SAME, float("inf"), "1 days 06:00:00"),
}
if seen != EXPECTED:
    sys.exit("The behaviour has changed.")
EOF
python program.py
