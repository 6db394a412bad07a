#!/usr/bin/env bash
# Expected: parse_time() of Babel reads a time that format_time() of Babel wrote for the same
# locale.
# Seen: it looks for the English letters "pm" only. In Korean, Arabic, Greek, the Chinese of Taiwan
# and the Spanish of Mexico, half past three in the afternoon becomes 03:30, without an exception.
# In English and Hindi, whose time has "pm", and in locales with 24 hours it is right.
# It matters for forms: the time that the page itself shows is stored twelve hours early as soon as
# a user chooses another language, and only in the afternoon.
# babel 2.19.0; https://babel.pocoo.org/en/latest/api/dates.html#babel.dates.parse_time;
# https://github.com/python-babel/babel/blob/master/babel/dates.py, parse_time
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'babel==2.19.0'
python --version
pip freeze

cat >program.py <<'EOF'
import sys
from datetime import time

from babel.dates import format_time, parse_time

seen = {}
for locale in "en_US", "hi_IN", "de_DE", "ko_KR", "ar_EG", "el_GR", "zh_TW", "es_MX":
    results = []
    for written in time(9, 30), time(15, 30):
        text = format_time(written, "short", locale=locale)
        results.append(f"{parse_time(text, locale=locale):%H:%M}")
        print(f"{locale}: {written:%H:%M} is {text!r}, read as {results[-1]}")
    seen[locale] = results
right, wrong = ["09:30", "15:30"], ["09:30", "03:30"]
if seen != {
    **dict.fromkeys(["en_US", "hi_IN", "de_DE"], right),
    **dict.fromkeys(["ko_KR", "ar_EG", "el_GR", "zh_TW", "es_MX"], wrong),
}:
    sys.exit("The behaviour has changed.")
EOF
python program.py
