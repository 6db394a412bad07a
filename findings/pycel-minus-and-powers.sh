#!/usr/bin/env bash
# Expected: pycel, which runs the formulas of Excel as Python code, gives Excel's results: =(-2)^2
# and =-2^2 are both 4, since a sign binds more tightly than a power there.
# Seen: both are -4. In Python, a power binds more tightly than a sign. =EDATE(DATE(2026,1,31),1) is
# 3 March, where Excel has 28 February: the days that the month lacks are added. The library
# formulas has 4 and 28 February.
# It matters for models that are moved from a workbook to a server: squares of differences are
# negative, and instalments of a contract are due in the wrong month.
# pycel 1.0b30, beside formulas 1.3.4; months_inc in the package's pycel/lib/date_time.py;
# https://superuser.com/questions/1385570/for-x-3-in-excel-why-does-x2-x-result-in-12-instead-of-6
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'pycel==1.0b30' 'formulas==1.3.4'
python --version
pip freeze

cat >program.py <<'EOF'
import datetime as dt
import sys

import formulas
import numpy
from pycel.excelformula import ExcelFormula

EXPECTED = {
    "=2^2": (4, 4),
    "=(-2)^2": (-4, 4),
    "=-2^2": (-4, 4),
    "=EDATE(DATE(2026,1,28),1)": (46081, 46081),
    "=EDATE(DATE(2026,1,31),1)": (46084, 46081),
}
evaluate = ExcelFormula.build_eval_context(None, None)
seen = {}
for text in EXPECTED:
    other = formulas.Parser().ast(text)[1].compile()()
    seen[text] = evaluate(ExcelFormula(text)), int(numpy.asarray(other).ravel()[0])
    print(f"{text}: pycel {seen[text][0]}, formulas {seen[text][1]}")
for day in (46081, 46084):
    print(day, "is", dt.date(1899, 12, 30) + dt.timedelta(day))
if seen != EXPECTED:
    sys.exit("The behaviour has changed.")
EOF
python program.py
