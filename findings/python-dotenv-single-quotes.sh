#!/usr/bin/env bash
# Expected: in a .env file, single quotes keep a value as it is, dollar signs included. So do a
# shell that sources the file (POSIX, 2.2.2) and Docker Compose. A backslash before a dollar sign in
# double quotes keeps it, too (2.2.3).
# Seen: python-dotenv replaces ${word} within single quotes, too. A password 'pie${s}' is "pie",
# since no variable has that name. In double quotes, \${s} is a backslash and nothing. $s without
# braces is never replaced.
# It matters for generated passwords, templates and regular expressions: the file is right for one
# tool and wrong for the other. `interpolate=False` helps.
# python-dotenv 1.2.4; https://pubs.opengroup.org/onlinepubs/9799919799/utilities/V3_chap02.html;
# https://docs.docker.com/compose/how-tos/environment-variables/variable-interpolation/
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'python-dotenv==1.2.4'
python --version
pip freeze

cat >program.py <<'EOF'
import io
import os
import subprocess
import sys

import dotenv

EXPECTED = {
    "A='pie${s}'": "pie",
    'A="pie\\${s}"': "pie\\",
    "A='pie$s'": "pie$s",
    "A='pie'": "pie",
}
environ = {name: value for name, value in os.environ.items() if name != "s"}
os.environ.pop("s", None)
seen = {}
for line in EXPECTED:
    seen[line] = dotenv.dotenv_values(stream=io.StringIO(line))["A"]
    shell = subprocess.run(
        ["bash", "-c", line + '; printf %s "$A"'], stdout=subprocess.PIPE, text=True, env=environ
    )
    print(line, "| bash:", shell.stdout, "| python-dotenv:", seen[line])
if seen != EXPECTED:
    sys.exit("The behaviour has changed.")
EOF
python program.py
