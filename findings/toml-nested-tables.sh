#!/usr/bin/env bash
# Expected: what toml.dumps() writes is read as the same by toml.loads(), as long as TOML has the
# types: tables in arrays, texts with any characters, times with fractions of a second.
# Seen: tables in an array that is in an array lose their values, [[{"size": 9}]] becomes
# [[["size"]]]. The text "\x41", a backslash and three letters, is written as an A. With C:\xampp,
# or with the regular expression [\x20], the file is invalid. The time 07:32:00.5 loses its fraction
# when it is read.
# It matters for settings that a program saves: they have other values, or the program can't start
# again. Other backslashes, as in C:\pies, are right, so a test passes.
# toml 0.10.2, beside tomllib; https://toml.io/en/v1.0.0; https://github.com/uiri/toml
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'toml==0.10.2'
python --version
pip freeze

cat >program.py <<'EOF'
import datetime
import sys
import tomllib

import toml

EXPECTED = {
    "sizes": [[["size"]]],
    "letter": "A",
    "folder": "TOMLDecodeError",
    "other folder": "C:\\pies",
}
VALUES = {
    "sizes": [[{"size": 9}]],
    "letter": "\\x41",
    "folder": "C:\\xampp",
    "other folder": "C:\\pies",
}
seen = {}
for name, value in VALUES.items():
    written = toml.dumps({"value": value})
    try:
        seen[name] = tomllib.loads(written)["value"]
    except tomllib.TOMLDecodeError as error:
        seen[name] = type(error).__name__
    print(f"{value!r} is written as {written!r} and read as {seen[name]!r}")
times = [module.loads("at = 07:32:00.5")["at"] for module in (toml, tomllib)]
print("07:32:00.5:", *times)
if times != [datetime.time(7, 32), datetime.time(7, 32, 0, 500000)]:
    sys.exit("The behaviour has changed.")
if seen != EXPECTED:
    sys.exit("The behaviour has changed.")
EOF
python program.py
