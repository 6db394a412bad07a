#!/usr/bin/env bash
# Expected: find_following_working_day of 25 December 2024, a Wednesday and a holiday, is 27
# December in Germany.
# Seen: it is 25 December itself, because the method looks only for weekends. is_working_day says
# that this day isn't one. Monday to Friday are four working days in workalendar, and five in
# holidays.
# It matters for due dates and deliveries: they are right all year, and on holidays in the middle of
# a week wrong.
# workalendar 17.0.0, beside holidays 0.109; CoreCalendar.find_following_working_day in the
# package's workalendar/core.py
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'workalendar==17.0.0' 'holidays==0.109'
python --version
pip freeze

cat >program.py <<'EOF'
import datetime
import sys

import holidays
from workalendar.europe import Germany

christmas = datetime.date(2024, 12, 25)
monday, friday = datetime.date(2024, 6, 3), datetime.date(2024, 6, 7)
calendar = Germany()
seen = {
    "following": str(calendar.find_following_working_day(christmas)),
    "is a working day": calendar.is_working_day(christmas),
    "one working day later": str(calendar.add_working_days(christmas, 1)),
    "Monday to Friday": calendar.get_working_days_delta(monday, friday),
    "Monday to Friday, holidays": holidays.Germany().get_working_days_count(monday, friday),
}
print(*seen.items(), sep="\n")
EXPECTED = {
    "following": "2024-12-25",
    "is a working day": False,
    "one working day later": "2024-12-27",
    "Monday to Friday": 4,
    "Monday to Friday, holidays": 5,
}
if seen != EXPECTED:
    sys.exit("The behaviour has changed.")
EOF
python program.py
