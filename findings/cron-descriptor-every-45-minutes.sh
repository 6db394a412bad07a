#!/usr/bin/env bash
# Expected: the description of */45 * * * * says that the job runs at minute 0 and 45 of each hour.
# In cron, a step counts within its field and begins again with each hour, day or month.
# Seen: it says "Every 45 minutes", although the pauses are 45 and 15 minutes. */7 is "Every 7
# minutes" with 4 minutes around the full hour, 0 */5 is "Every 5 hours" with 4 around midnight, and
# 0 0 */2 is "every 2 days", although the job runs on the 31st and on the 1st.
# It matters because people check their expressions with such a sentence: it confirms the misreading
# that it should reveal.
# cron-descriptor 2.2.1; crontab(5), "Step values"; get_minutes_description in the package's
# cron_descriptor/ExpressionDescriptor.py
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'cron-descriptor==2.2.1'
python --version
pip freeze

cat >program.py <<'EOF'
import sys

from cron_descriptor import get_description

EXPECTED = {
    "*/15 * * * *": "Every 15 minutes",
    "*/45 * * * *": "Every 45 minutes",
    "*/7 * * * *": "Every 7 minutes",
    "0 */5 * * *": "Every 5 hours",
    "0 0 */2 * *": "At 12:00 AM, every 2 days",
}
seen = {text: get_description(text) for text in EXPECTED}
for text, description in seen.items():
    minutes, hours, days = text.split()[:3]
    field, end = (minutes, 60) if "/" in minutes else (hours, 24) if "/" in hours else (days, 31)
    step = int(field.removeprefix("*/"))
    print(f"{text}: {description!r}; the last pause is {end - (end - 1) // step * step}")
if seen != EXPECTED:
    sys.exit("The behaviour has changed.")
EOF
python program.py
