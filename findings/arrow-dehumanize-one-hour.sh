#!/usr/bin/env bash
# Expected: dehumanize("in 1 hour and 5 minutes") of arrow adds 65 minutes, or raises a ValueError
# as for "in 1 hour", which it doesn't understand.
# Seen: it adds five minutes. arrow knows "an hour" and numbers from two on, and in a text with
# several units it drops the ones that it doesn't know. "in 2 days and 1 hour" is two days, "in 1
# month and 2 days" two days.
# It matters for bots and forms that take such texts: "2 hours and 5 minutes" works in the tests,
# and a reminder in 1 hour and 5 minutes comes an hour early.
# arrow 1.4.0; https://arrow.readthedocs.io/en/latest/guide.html#dehumanize
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'arrow==1.4.0'
python --version
pip freeze

cat >program.py <<'EOF'
import sys

import arrow

start = arrow.get(2024, 1, 1)
seen = {}
for text in (
    "in 2 hours and 5 minutes",
    "in an hour and 5 minutes",
    "in 1 hour",
    "in 1 hour and 5 minutes",
    "in 2 days and 1 hour",
    "in 1 month and 2 days",
):
    try:
        seen[text] = str(start.dehumanize(text) - start)
    except ValueError:
        seen[text] = "ValueError"
    print(f"{text}: {seen[text]}")
if [*seen.values()] != [
    "2:05:00",
    "1:05:00",
    "ValueError",
    "0:05:00",
    "2 days, 0:00:00",
    "2 days, 0:00:00",
]:
    sys.exit("The behaviour has changed.")
EOF
python program.py
