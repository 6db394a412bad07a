#!/usr/bin/env bash
# Expected: a text with & that is written to a workbook is the same text in Excel, and True, None or
# a date in a cell is written or refused.
# Seen: pylightxl escapes & twice, so "Fish & chips" is "Fish &amp; chips" for openpyxl, and for
# pylightxl itself. < is right. With True, None or a date, it writes a file that isn't a workbook:
# openpyxl can't read it, and pylightxl raises no exception.
# It matters for reports of names and addresses: Jones & Sons is wrong, and one empty value makes
# the whole file unreadable.
# pylightxl 1.61, beside openpyxl 3.1.5; https://pylightxl.readthedocs.io/en/latest/
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'pylightxl==1.61' 'openpyxl==3.1.5'
python --version
pip freeze

cat >program.py <<'EOF'
import datetime
import sys

import openpyxl
import pylightxl

VALUES = ["Fish & chips", "1 < 2", 1.5, True, None, datetime.date(2024, 1, 2)]
seen = []
for number, value in enumerate(VALUES):
    database = pylightxl.Database()
    database.add_ws("pies")
    database.ws("pies").update_index(row=1, col=1, val=value)
    name = f"pies{number}.xlsx"
    pylightxl.writexl(db=database, fn=name)
    try:
        seen.append(openpyxl.load_workbook(name).active["A1"].value)
    except ValueError as error:
        seen.append(type(error).__name__)
    print(f"{value!r} is read as {seen[-1]!r}")
again = pylightxl.readxl("pies0.xlsx").ws("pies").index(row=1, col=1)
print("by pylightxl itself:", again)
if again != seen[0] or seen != [
    "Fish &amp; chips",
    "1 < 2",
    1.5,
    "ValueError",
    "ValueError",
    "ValueError",
]:
    sys.exit("The behaviour has changed.")
EOF
python program.py
