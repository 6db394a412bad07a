#!/usr/bin/env bash
# Expected: a year is 365 days for humanfriendly, perhaps 365.25.
# Seen: it is 52 weeks, 364 days. parse_timespan("1 year") is 31,449,600 seconds, and 365 days are
# "1 year and 1 day". Ten years are twelve days short.
# It matters for settings such as `keep = "10 years"` or the lifetime of a certificate: data is
# deleted too early, and an age of exactly a year looks like more.
# humanfriendly 10.0;
# https://humanfriendly.readthedocs.io/en/latest/api.html#humanfriendly.parse_timespan
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'humanfriendly==10.0'
python --version
pip freeze

cat >program.py <<'EOF'
import sys

from humanfriendly import format_timespan, parse_timespan

DAY = 24 * 60 * 60
seen = [parse_timespan(text) / DAY for text in ("52 weeks", "1 year", "10 years")]
seen += [format_timespan(days * DAY) for days in (364, 365, 3653)]
print("52 weeks, 1 year and 10 years have {:.0f}, {:.0f} and {:.0f} days".format(*seen))
print("364, 365 and 3653 days are: {}; {}; {}".format(*seen[3:]))
if seen != [
    364,
    364,
    3640,
    "1 year",
    "1 year and 1 day",
    "10 years, 1 week and 6 days",
]:
    sys.exit("The behaviour has changed.")
EOF
python program.py
