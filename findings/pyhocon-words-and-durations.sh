#!/usr/bin/env bash
# Expected: a HOCON setting such as `room = 12 d` or `zip = 01067` is text, unless the program asks
# for a duration or a number. That is what the specification says and what the JVM's library does.
# Seen: pyhocon turns every number with a unit of time, also m, w, h, d and s, into a duration when
# it parses, whatever the setting means. get_string returns "relativedelta(days=+12)", and the
# conversion to JSON has milliseconds. A leading zero is lost.
# It matters for rooms, sizes in metres or from a tailor, and codes. Quotes help. pyhocon 0.3.63;
# https://github.com/lightbend/config/blob/main/HOCON.md#duration-format
# https://github.com/chimpler/pyhocon/blob/master/pyhocon/period_parser.py
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'pyhocon==0.3.63' 'python-dateutil==2.9.0.post0'
python --version
pip freeze

cat >program.py <<'EOF'
import json
import sys

from pyhocon import ConfigFactory, HOCONConverter

TEXT = """room = 12 d
height = 10 m
zip = 01067
quoted = "12 d"
"""
config = ConfigFactory.parse_string(TEXT)
strings = {name: config.get_string(name) for name in config}
converted = json.loads(HOCONConverter.to_json(config))
for name, text in strings.items():
    print(name, "| get_string:", text, "| as JSON:", converted[name])
if strings != {
    "room": "relativedelta(days=+12)",
    "height": "relativedelta(minutes=+10)",
    "zip": "1067",
    "quoted": "12 d",
} or converted["room"] != 12 * 24 * 3600 * 1000:
    sys.exit("The behaviour has changed.")
EOF
python program.py
