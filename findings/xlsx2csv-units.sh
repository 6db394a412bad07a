#!/usr/bin/env bash
# Expected: xlsx2csv writes a number of a sheet as the number, or as a spreadsheet program shows
# it: 7.5 in the format `0.0" h"` is "7.5" or "7.5 h".
# Seen: it writes `0.0" 12"`. A letter d, h or s in a quoted unit makes it take the number for a
# date. 7.5 in the format `0.0" d"` is `0.0" 06"`. A duration of 26.5 hours in [h]:mm, on the other
# hand, is the number 1.104167. openpyxl and python-calamine return 7.5 and a duration.
# It matters for time sheets and price lists: formats with units are what a spreadsheet is for, and
# the quantity disappears from the CSV, with exit status 0.
# xlsx2csv 0.8.6, beside openpyxl 3.1.5 and python-calamine 0.9.1; ECMA-376, part 1, section
# 18.8.31 (number formats)
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check \
    'xlsx2csv==0.8.6' 'openpyxl==3.1.5' 'python-calamine==0.9.1' 'XlsxWriter==3.3.1'
python --version
pip freeze

cat >program.py <<'EOF'
import csv
import subprocess
import sys
from datetime import timedelta

import openpyxl
import xlsxwriter
from python_calamine import CalamineWorkbook

CELLS = (
    (7.5, "0.0"),
    (7.5, '0.0" kg"'),
    (7.5, '0.0" h"'),
    (7.5, '0.0" d"'),
    (26.5 / 24, "[h]:mm"),
)
with xlsxwriter.Workbook("pies.xlsx") as book:
    sheet = book.add_worksheet()
    for row, (value, text) in enumerate(CELLS):
        sheet.write_number(row, 0, value, book.add_format({"num_format": text}))
done = subprocess.run(["xlsx2csv", "pies.xlsx"], capture_output=True, text=True)
seen = [row[0] for row in csv.reader(done.stdout.splitlines())]
by_openpyxl = [row[0] for row in openpyxl.load_workbook("pies.xlsx").active.values]
calamine_sheet = CalamineWorkbook.from_path("pies.xlsx").get_sheet_by_index(0)
by_calamine = [row[0] for row in calamine_sheet.to_python()]
for cell, *values in zip(CELLS, seen, by_openpyxl, by_calamine, strict=True):
    print(cell, "xlsx2csv: {!r}, openpyxl: {!r}, calamine: {!r}".format(*values))
if (
    done.returncode
    or done.stderr
    or seen != ["7.5", "7.500000", '0.0" 12"', '0.0" 06"', "1.104167"]
    or by_openpyxl != [7.5, 7.5, 7.5, 7.5, timedelta(hours=26.5)]
    or by_calamine != by_openpyxl
):
    sys.exit("The behaviour has changed.")
EOF
python program.py
