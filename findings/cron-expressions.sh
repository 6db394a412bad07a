#!/usr/bin/env bash
# Expected: a cron expression has one meaning. "0 9 13 * 5" runs on each 13th and on each Friday,
# since cron runs a job if either day matches. "0 9 * * 1" runs on Mondays, and 7 is a Sunday.
# Seen: for Celery and huey, the first one runs only on a 13th that is a Friday. APScheduler's
# from_crontab counts the days of the week from Monday as 0: the first one runs only on a 13th that
# is a Saturday, and the second one runs on Tuesdays. 7 is an error for APScheduler and for Celery.
# Only croniter does what cron does.
# It matters for jobs that move from a crontab to a task queue, and from one queue to another: the
# expression is accepted, and the job runs on other days.
# APScheduler 3.11.3, Celery 5.7.0, croniter 7.0.0, huey 3.5.4;
# https://pubs.opengroup.org/onlinepubs/9799919799/utilities/crontab.html
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check \
    'APScheduler==3.11.3' 'celery==5.7.0' 'croniter==7.0.0' 'huey==3.5.4'
python --version
pip freeze

cat >program.py <<'EOF'
import sys
from datetime import datetime, timedelta, timezone

from apscheduler.triggers.cron import CronTrigger
from celery.schedules import crontab
from croniter import croniter
from huey import crontab as huey_crontab

FIRST = datetime(2024, 9, 1, tzinfo=timezone.utc)  # a Sunday; the 13th is a Friday
TIMES = [FIRST + timedelta(days=day, hours=9) for day in range(30)]
FRIDAYS, MONDAYS, TUESDAYS = [6, 13, 20, 27], [2, 9, 16, 23, 30], [3, 10, 17, 24]
SUNDAYS = [1, 8, 15, 22, 29]
NAMES = "minute", "hour", "day", "month", "day_of_week"


def by_apscheduler(expression):
    trigger = CronTrigger.from_crontab(expression, timezone=timezone.utc)
    return [at for at in TIMES if trigger.get_next_fire_time(None, at) == at]


def by_celery(expression):
    fields = dict(zip(NAMES, expression.split(), strict=True))
    fields["day_of_month"], fields["month_of_year"] = fields.pop("day"), fields.pop("month")
    found = []
    for at in TIMES:
        schedule = crontab(**fields, nowfun=lambda at=at: at)
        if schedule.is_due(at - timedelta(minutes=1)).is_due:
            found.append(at)
    return found


def by_croniter(expression):
    return [at for at in TIMES if croniter.match(expression, at)]


def by_huey(expression):
    runs = huey_crontab(**dict(zip(NAMES, expression.split(), strict=True)))
    return [at for at in TIMES if runs(at)]


seen = {}
for run in by_apscheduler, by_celery, by_croniter, by_huey:
    for expression in "0 9 13 * 5", "0 9 * * 1", "0 9 * * 7":
        try:
            days = [at.day for at in run(expression)]
        except ValueError as error:
            days = "ValueError"
            print(error)
        print(f"{run.__name__}, {expression}: {days}")
        seen.setdefault(run.__name__, []).append(days)
if seen != {
    "by_apscheduler": [[], TUESDAYS, "ValueError"],
    "by_celery": [[13], MONDAYS, "ValueError"],
    "by_croniter": [FRIDAYS, MONDAYS, SUNDAYS],
    "by_huey": [[13], MONDAYS, SUNDAYS],
}:
    sys.exit("The behaviour has changed.")
EOF
python program.py
