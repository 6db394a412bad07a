#!/usr/bin/env bash
# Expected: a table of strings shows these strings.
# Seen: each cell that float() accepts is formatted as a number, row by row. "01067" becomes 1067,
# the telephone number "0302000000" 3.020e+08, the article "4E3" 4000, "1_000" 1000, the version
# "1.10" 1.100, the amount "0.0004" 0.000, and an account of 20 digits 1.235e+19. In the same column
# "01067a" stays. Columns of the type "t" show text, but the default is "a", automatic.
# It matters for reports of what comes from a CSV file or a database: identifiers are wrong, and a
# copied one finds another record or none.
# texttable 1.7.2; Texttable._fmt_auto in the package's texttable.py
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'texttable==1.7.2'
python --version
pip freeze

cat >program.py <<'EOF'
import sys

from texttable import Texttable

EXPECTED = {
    "01067": "1067",
    "01067a": "01067a",
    "0302000000": "3.020e+08",
    "4E3": "4000",
    "1_000": "1000",
    "1.10": "1.100",
    "0.0004": "0.000",
    "12345678901234567890": "1.235e+19",
}
table = Texttable()
table.set_deco(0)
table.add_rows([[value] for value in EXPECTED], header=False)
print(table.draw())
seen = [line.strip() for line in table.draw().splitlines()]
text = Texttable()
text.set_deco(0)
text.set_cols_dtype(["t"])
text.add_rows([[value] for value in EXPECTED], header=False)
print("\nas text:", text.draw(), sep="\n")
if seen != list(EXPECTED.values()) or text.draw().split() != list(EXPECTED):
    sys.exit("The behaviour has changed.")
EOF
python program.py
