#!/usr/bin/env bash
# Expected: a template of Velocity, for example a mapping template of an AWS gateway, gives the same
# text with airspeed: a boolean is written as true, #break leaves the loop, a loop over a map has
# its values, and -7 / 2 is -3, as in Java.
# Seen: airspeed writes True, so JSON from the template is invalid, and prints the word #break. A
# loop over a map has the keys, -7 / 2 is -4, and -7 % 3 is 2 in place of -1. Nothing is raised.
# It matters because emulators of AWS use airspeed for such templates: what works in a test differs
# in the cloud.
# airspeed 0.7.1; https://velocity.apache.org/engine/2.4/user-guide.html ("Loops", "Math");
# https://github.com/purcell/airspeed
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'airspeed==0.7.1'
python --version
pip freeze

cat >program.py <<'EOF'
import sys

import airspeed

EXPECTED = {  # template: (Velocity, airspeed)
    '{"paid": $paid}': ('{"paid": true}', '{"paid": True}'),
    "#foreach($n in [1..4])#if($n == 3)#break#end$n#end": ("12", "12#break34"),
    "#foreach($pie in $pies)$pie #end": ("sweet sour ", "apple plum "),
    "#set($n = -7 / 2)$n": ("-3", "-4"),
    "#set($n = -7 % 3)$n": ("-1", "2"),
    "#set($n = 7 / 2)$n": ("3", "3"),
}
NAMES = {"paid": True, "pies": {"apple": "sweet", "plum": "sour"}}
seen = {text: airspeed.Template(text).merge(NAMES) for text in EXPECTED}
for text, result in seen.items():
    print(f"{text} | Velocity: {EXPECTED[text][0]} | airspeed: {result}")
if seen != {text: results[1] for text, results in EXPECTED.items()}:
    sys.exit("The behaviour has changed.")
EOF
python program.py
