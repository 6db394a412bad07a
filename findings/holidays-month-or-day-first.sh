#!/usr/bin/env bash
# Expected: the keys of a calendar of German holidays are dates, and a text such as "1/5/2024" is 1
# May, or an error.
# Seen: texts are guessed one by one. "25/12/2024" is Christmas and "26.12.2024" too, but "1/5/2024"
# and "01.05.2024" are 5 January, so 1 May isn't a holiday, and "6/1/2024", in Bavaria Epiphany, is
# 1 June. len() is 0 before the first question and changes with each year asked for.
# It matters for calendars from CSV files: tests with Christmas pass, and 12 days of each month are
# another date.
# holidays 0.109; HolidayBase.__keytransform__ in the package's holidays/holiday_base.py
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'holidays==0.109'
python --version
pip freeze

cat >program.py <<'EOF'
import sys

import holidays

EXPECTED = {
    "2024-05-01": True,
    "25/12/2024": True,
    "26.12.2024": True,
    "1/5/2024": False,
    "01.05.2024": False,
    "6/1/2024": False,
    "5/1/2024": True,
}
germany = holidays.Germany(subdiv="BY")
lengths = [len(germany)]
seen = {text: text in germany for text in EXPECTED}
lengths.append(len(germany))
print(*seen.items(), f"holidays before and after: {lengths}", sep="\n")
if seen != EXPECTED or lengths[0] != 0 or lengths[1] == 0:
    sys.exit("The behaviour has changed.")
EOF
python program.py
