#!/usr/bin/env bash
# Expected: the cron expression "5/15 * * * *" has one meaning, or is invalid: minute 5 and each 15
# minutes after it, as in Quartz.
# Seen: cronsim runs it four times an hour, cron-converter once, at minute 5, and pycron never,
# though it accepts it. "0 9 * * 7" runs on Sundays for two, and never for pycron. "0 9 13 * 5" runs
# on each 13th and each Friday for cronsim and pycron, as in cron, and for cron-converter on a 13th
# that is a Friday only.
# It matters for schedules that are copied from a crontab or another program: each library accepts
# them, and the jobs run at other times or not at all.
# cronsim 2.8, cron-converter 2.0.2, pycron 3.3.0;
# https://www.quartz-scheduler.org/documentation/quartz-2.3.0/tutorials/crontrigger.html;
# https://github.com/kipe/pycron; https://github.com/Sonic0/cron-converter
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check \
    'cronsim==2.8' 'cron-converter==2.0.2' 'pycron==3.3.0'
python --version
pip freeze

cat >program.py <<'EOF'
import sys
from datetime import datetime, timedelta

import cron_converter
import cronsim
import pycron

FIRST = datetime(2024, 9, 1)  # a Sunday; the 13th is a Friday
END = datetime(2024, 9, 15)


def by_cronsim(expression):
    for at in cronsim.CronSim(expression, FIRST - timedelta(minutes=1)):
        if at >= END:
            return
        yield at


def by_cron_converter(expression):
    schedule = cron_converter.Cron(expression).schedule(FIRST)
    while (at := schedule.next()) < END:
        yield at


def by_pycron(expression):
    at = FIRST
    while at < END:
        if pycron.is_now(expression, at):
            yield at
        at += timedelta(minutes=5)


seen = {}
for run in by_cronsim, by_cron_converter, by_pycron:
    minutes = sorted({at.minute for at in run("5/15 * * * *")})
    days = [[at.day for at in run(expression)] for expression in ("0 9 * * 7", "0 9 13 * 5")]
    seen[run.__name__] = minutes, *days
    print(f"{run.__name__}: minutes {minutes}; days of '0 9 * * 7' and '0 9 13 * 5' {days}")
if seen != {
    "by_cronsim": ([5, 20, 35, 50], [1, 8], [6, 13]),
    "by_cron_converter": ([5], [1, 8], [13]),
    "by_pycron": ([], [], [6, 13]),
}:
    sys.exit("The behaviour has changed.")
EOF
python program.py
