#!/usr/bin/env bash
# Expected: what requests.post(json=...) sends depends on the value and on requests. A package that
# another dependency needs doesn't change it.
# Seen: requests imports simplejson in place of json if it is installed. A named tuple was the array
# ["Anna", 8] and becomes the object {"name": "Anna", "hours": 8}; a Decimal, so far a TypeError,
# becomes a number. Neither requests' metadata nor its documentation of json= mentions simplejson.
# It matters because the other side gets another document after an unrelated "pip install", and
# because tests in an environment without it pass with the other one.
# requests 2.34.2, simplejson 4.3.0; the imports in the package's requests/compat.py
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'requests==2.34.2' 'simplejson==4.3.0'
python --version
pip freeze

cat >program.py <<'EOF'
import subprocess
import sys

PROGRAM = """
from collections import namedtuple
from decimal import Decimal
import requests

Shift = namedtuple("Shift", "name hours")
for value in (Shift("Anna", 8), Decimal("1.50")):
    try:
        request = requests.Request("POST", "http://127.0.0.1/", json=value)
        print(request.prepare().body.decode())
    except requests.exceptions.RequestException as error:
        print(type(error).__name__)
    except TypeError as error:
        print("TypeError")
"""
# What Python's json gives, as if simplejson weren't installed.
WITHOUT = "import sys; sys.modules['simplejson'] = None\n"
seen = {}
for name, code in (("json alone", WITHOUT + PROGRAM), ("with simplejson", PROGRAM)):
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    seen[name] = run.stdout.split("\n")[:2]
    print(f"{name}: {seen[name]}")
if seen != {
    "json alone": ['["Anna", 8]', "TypeError"],
    "with simplejson": ['{"name": "Anna", "hours": 8}', "1.50"],
}:
    sys.exit("The behaviour has changed.")
EOF
python program.py
