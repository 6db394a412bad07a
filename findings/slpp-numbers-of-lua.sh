#!/usr/bin/env bash
# Expected: SLPP reads each Lua table of numbers and strings as Lua does, or raises ParseError.
# Seen: {c = 1e3} becomes {"c": 0, 1: 3}, 5. is 0 and -0x1F is 0 beside an item "x1F": the parser
# prints a line about a malformed number to standard output and goes on with 0. Without a line, .5
# is the string ".5", "\n" is a backslash and an n, and in {c=1;d=2} the second key is ";d". 1e-3
# and 0x1F are read.
# It matters for settings and saved data of games and of Lua programs, whose %g writes 1e+15 and
# whose authors may write 1e3: a value is 0, and a number that nobody wrote is in the list.
# SLPP 1.2.3; number() in the package's slpp.py; https://www.lua.org/manual/5.4/manual.html#3.1
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'SLPP==1.2.3'
python --version
pip freeze

cat >program.py <<'EOF'
import contextlib
import io
import sys

from slpp import slpp

EXPECTED = {
    "{c = 1.5, d = 0x1F, e = 1e-3}": {"c": 1.5, "d": 31, "e": 0.001},
    "{c = 1e3}": {"c": 0, 1: 3},
    "{c = 5.}": {"c": 0},
    "{c = -0x1F}": {"c": 0, 1: "x1F"},
    "{c = .5}": {"c": ".5"},
    "{c=1;d=2}": {"c": 1, ";d": 2},
    r'{c = "a\nb"}': {"c": r"a\nb"},
}
seen = {}
for text in EXPECTED:
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        seen[text] = slpp.decode(text)
    print(f"{text}: {seen[text]} | printed {printed.getvalue()!r}")
if seen != EXPECTED:
    sys.exit("The behaviour has changed.")
EOF
python program.py
